import { createReadStream } from 'node:fs';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UserError } from '@chameleon/core';
import { Parser, type ReadEntry } from 'tar';
import type { ArchiveEntry } from './prepare-dataset.js';

/**
 * Hands each file of a tar archive, gzipped or not, to `take`, in order; small ones may still be under way when the next
 * begins. An archive without the two empty blocks at its end was cut off, even where its last entry is whole. Links and devices are passed over. After a failure nothing more is begun, and what is under way is awaited.
 */
export async function readTar(archive: string, take: (entry: ArchiveEntry, position: number) => Promise<void>): Promise<void> {
  const source = createReadStream(archive);
  let failure: unknown = null, ended = false;
  const pending = new Set<Promise<void>>(), contents = new Set<PassThrough>();
  const consume = async (entry: ReadEntry): Promise<void> => {
    const content = new PassThrough();
    const open = (): Promise<Readable> => {
      contents.add(content);
      return Promise.resolve(entry.pipe(content as never) as unknown as Readable);
    };
    try {
      await take({ path: entry.path, size: entry.size, open }, source.bytesRead);
    } catch (error) {
      failure ??= error;
    }
    if (!contents.delete(content) || failure !== null) entry.resume();
  };
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      if (failure !== null || (entry.type !== 'File' && entry.type !== 'OldFile')) return void entry.resume();
      const taken = consume(entry).then(() => {
        pending.delete(taken);
        // Not before: entries that are under way may wait for more of the archive.
        if (failure !== null && pending.size === 0) source.destroy();
      });
      pending.add(taken);
    },
  });
  parser.on('eof', () => (ended = true));
  try {
    await pipeline(source, parser as unknown as NodeJS.WritableStream);
    if (!ended) throw new Error('it ends between two of its files, so it was cut off: fetch or make it again');
  } catch (error) {
    failure ??= new UserError(`${archive} is not a whole tar archive: ${(error as Error).message}.`, { cause: error });
    // What comes no more is not waited for.
    for (const content of contents) content.destroy(error as Error);
  }
  await Promise.all(pending);
  if (failure !== null) throw failure as Error;
}
