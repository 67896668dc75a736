import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { UserError } from '@chameleon/core';

/**
 * Makes a folder beside its place and renames it at the end, so that it is whole or absent.
 * @throws {UserError} when something is there already, or it can't be written
 */
export async function makeWhole<Result>(out: string, make: (partial: string) => Promise<Result>): Promise<Result> {
  await requireEmpty(out);
  const partial = `${out}.partial`;
  await rm(partial, { recursive: true, force: true });
  try {
    await mkdir(partial, { recursive: true });
    const result = await make(partial);
    await rm(out, { recursive: true, force: true });
    await rename(partial, out);
    return result;
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new UserError(`The disk is full: ${out} could not be written. Nothing of it was kept. Free some space, or choose another folder.`, { cause: error });
    throw error;
  }
}

async function requireEmpty(out: string): Promise<void> {
  const there = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new UserError(`${out} can't be used as a folder (${error.code ?? error.message}).`, { cause: error });
  });
  if (there.length > 0) throw new UserError(`${out} is not empty. Choose another folder, or remove it.`);
}
