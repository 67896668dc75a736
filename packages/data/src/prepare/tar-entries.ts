import { createReadStream } from 'node:fs';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UserError } from '@chameleon/core';
import { Parser, type ReadEntry } from 'tar';
import type { ArchiveEntry } from './prepare-dataset.js';

/** Hands each file of a tar archive, gzipped or not, to `take`, one after the other. Links and devices are passed over. */
export async function readTar(archive: string, take: (entry: ArchiveEntry, position: number) => Promise<void>): Promise<void> {
  const source = createReadStream(archive);
  let failure: unknown = null;
  let last: Promise<void> = Promise.resolve();
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      if (entry.type !== 'File' && entry.type !== 'OldFile') return void entry.resume();
      last = consume(entry, take, source.bytesRead).catch((error: unknown) => {
        failure ??= error;
        entry.resume();
        source.destroy();
      });
    },
  });
  try {
    await pipeline(source, parser as unknown as NodeJS.WritableStream);
  } catch (error) {
    failure ??= new UserError(`${archive} is not a whole tar archive: ${(error as Error).message}.`, { cause: error });
  }
  await last;
  if (failure !== null) throw failure as Error;
}

async function consume(entry: ReadEntry, take: (entry: ArchiveEntry, position: number) => Promise<void>, position: number): Promise<void> {
  let opened = false;
  await take({
    path: entry.path,
    size: entry.size,
    open: () => {
      opened = true;
      return Promise.resolve(entry.pipe(new PassThrough() as never) as unknown as PassThrough);
    },
  }, position);
  if (!opened) entry.resume();
}
