import type { Readable } from 'node:stream';
import { UserError } from '@chameleon/core';
import yauzl, { type Entry, type Options } from 'yauzl';
import type { ArchiveEntry } from './prepare-dataset.js';

/** yauzl 3.4's promises, which its types don't know yet. */
interface Zip {
  eachEntry: () => AsyncIterable<Entry>;
  openReadStreamPromise: (entry: Entry) => Promise<Readable>;
  close: () => void;
}
const openZip = (yauzl as unknown as { openPromise: (path: string, options: Options) => Promise<Zip> }).openPromise;

/** Hands each file of a zip archive to `take`, one after the other. yauzl refuses paths that lead out of the archive, and sizes that lie. */
export async function readZip(archive: string, take: (entry: ArchiveEntry, position: number) => Promise<void>): Promise<void> {
  try {
    const zip = await openZip(archive, { lazyEntries: true, autoClose: false });
    try {
      for await (const entry of zip.eachEntry()) {
        if (entry.fileName.endsWith('/')) continue;
        await take({ path: entry.fileName, size: entry.uncompressedSize, open: () => zip.openReadStreamPromise(entry) }, entry.relativeOffsetOfLocalHeader);
      }
    } finally {
      zip.close();
    }
  } catch (error) {
    if (error instanceof UserError || (error as Error).name === 'AbortError') throw error;
    throw new UserError(`${archive} is not a whole zip archive: ${(error as Error).message}.`, { cause: error });
  }
}
