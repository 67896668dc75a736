import { createHash, randomBytes } from 'node:crypto';
import { closeSync, createReadStream, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { UserError } from '@chameleon/core';

/**
 * Writes a file beside its place, syncs and renames it. Not by write-file-atomic, which takes a short write, such as a full
 * disk's last one, for a whole one, and puts a file that is cut off in the place of a good one.
 * @throws UserError where the disk is full or read-only; then what was there before is whole
 */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const beside = besideOf(path);
  try {
    {
      await using file = await open(beside, 'wx');
      await file.writeFile(content);
      await file.sync();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw explainDisk(error, path);
  }
}

/** As `writeWhole`, for what must be on the disk before the next line runs. */
export function writeWholeSync(path: string, content: string): void {
  const beside = besideOf(path);
  try {
    const file = openSync(beside, 'wx');
    try {
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw explainDisk(error, path);
  }
}

const besideOf = (path: string): string => `${path}.${randomBytes(6).toString('hex')}.tmp`;

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** A file's text or bytes; null where there is none. */
export async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw explainDisk(error, path);
  }
}

/** What the system says of a file, as a sentence that says what to do; other errors come back as they are. */
export function explainDisk(error: unknown, path: string): unknown {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new UserError(`The disk is full: ${path} could not be written. What was there before is whole. Free some space, then go on with --resume.`, { cause: error });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new UserError(`${path} may not be written (${(error as NodeJS.ErrnoException).code}). Choose another folder with --out, or mend its permissions.`, { cause: error });
    case 'EISDIR':
    case 'ENOTDIR':
      return new UserError(`${path} can't be used: a file stands where a folder is needed, or the other way round.`, { cause: error });
    default:
      return error;
  }
}
