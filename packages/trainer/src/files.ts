import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { UserError } from '@chameleon/core';
import writeFileAtomic from 'write-file-atomic';

/** Writes a file beside its place, syncs and renames it. @throws UserError where the disk is full or read-only */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  try {
    await writeFileAtomic(path, content as string);
  } catch (error) {
    throw explainDisk(error, path);
  }
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

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
