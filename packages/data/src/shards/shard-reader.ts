import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { PictureError } from '../picture-error.js';
import { INDEX_NAME } from './shard-index.js';
import type { ShardPart } from './shard-set.js';

/** Shards that a reader keeps open: a batch may touch as many, and all threads together stay far below a process's limit. */
const MAX_OPEN = 64;

interface OpenShard {
  handle: Promise<FileHandle>;
  /** Reads under way. */
  readers: number;
}

/**
 * Reads pictures out of shards, by offset. A shard is opened when the first picture is read from it, and of those that are
 * not read from at the moment the one used longest ago is closed when there are too many.
 */
export class ShardReader implements AsyncDisposable {
  /** By path, the one used longest ago first. */
  readonly #open = new Map<string, OpenShard>();

  /** A picture's bytes, proved by their digest. @throws {PictureError} of fault `shard` */
  async read(part: ShardPart, name: string): Promise<Uint8Array> {
    const shard = this.#take(part.file);
    try {
      const bytes = await readAt(await shard.handle, part);
      const file = basename(part.file);
      if (bytes.length < part.bytes) throw new PictureError(name, 'shard', `is cut short: ${file} ends before it does`);
      if (createHash('sha256').update(bytes).digest('hex') !== part.sha256) throw new PictureError(name, 'shard', `has other bytes in ${file} than ${INDEX_NAME} says`);
      return bytes;
    } catch (error) {
      if (error instanceof PictureError) throw error;
      throw new PictureError(name, 'shard', `can't be read from ${part.file} (${(error as NodeJS.ErrnoException).code ?? String(error)})`, { cause: error });
    } finally {
      shard.readers--;
      await this.#closeSpare();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const shards = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(shards.map(close));
  }

  #take(path: string): OpenShard {
    const shard = this.#open.get(path) ?? { handle: open(path), readers: 0 };
    this.#open.delete(path);
    this.#open.set(path, shard);
    // What can't be opened may be there the next time.
    if (shard.readers++ === 0) shard.handle.catch(() => this.#open.get(path) === shard && this.#open.delete(path));
    return shard;
  }

  async #closeSpare(): Promise<void> {
    for (const [path, shard] of this.#open) {
      if (this.#open.size <= MAX_OPEN) return;
      if (shard.readers > 0) continue;
      this.#open.delete(path);
      await close(shard);
    }
  }
}

const close = async ({ handle }: OpenShard): Promise<void> => {
  const file = await handle.catch(() => null);
  await file?.close();
};

/** As much of a part as the file has: network file systems may give less at a time than was asked for. */
async function readAt(file: FileHandle, { offset, bytes }: ShardPart): Promise<Uint8Array> {
  const whole = new Uint8Array(bytes);
  for (let at = 0; at < bytes; ) {
    const { bytesRead } = await file.read(whole, at, bytes - at, offset + at);
    if (bytesRead === 0) return whole.subarray(0, at);
    at += bytesRead;
  }
  return whole;
}
