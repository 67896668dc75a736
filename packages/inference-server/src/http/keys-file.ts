import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UserError } from '@chameleon/core';
import { type Right, type StoredKey, createKey, readKeys } from './keys.js';

/** The keys of a file; none where there is no file yet. @throws UserError */
export async function listKeys(path: string): Promise<StoredKey[]> {
  return (await stat(path).catch(() => null)) ? readKeys(path) : [];
}

/**
 * Makes a key and adds it to a file, which only its owner may read.
 * @returns the key's text, which is nowhere kept
 * @throws UserError when the name is taken or the file can't be written
 */
export async function addKey(path: string, name: string, rights: Right[]): Promise<string> {
  const keys = await listKeys(path);
  if (keys.some((key) => key.name === name)) throw new UserError(`${path} has a key called ${name} already. Choose another name, or remove that one first.`);
  const { text, stored } = createKey(name, rights);
  await writeKeys(path, [...keys, stored]);
  return text;
}

/** @throws UserError when there is no such key, or it is the last one: a server without keys lets everybody in */
export async function removeKey(path: string, name: string): Promise<void> {
  const keys = await listKeys(path);
  const left = keys.filter((key) => key.name !== name);
  if (left.length === keys.length) throw new UserError(`${path} has no key called ${name}. It has ${keys.map((key) => key.name).join(', ') || 'none'}.`);
  if (left.length === 0) throw new UserError(`${name} is the last key of ${path}. Add another one first, or delete the file.`);
  await writeKeys(path, left);
}

async function writeKeys(path: string, keys: readonly StoredKey[]): Promise<void> {
  const beside = `${path}.${process.pid}.new`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(beside, 'wx', 0o600);
    try {
      await file.writeFile(`${JSON.stringify({ keys }, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw new UserError(`${path} can't be written (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { cause: error });
  }
}
