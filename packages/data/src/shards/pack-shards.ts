import { type Hash, createHash } from 'node:crypto';
import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { UserError } from '@chameleon/core';
import { Header, Pax } from 'tar';
import { type OpenOptions, readLayout } from '../dataset.js';
import { PictureError } from '../picture-error.js';
import { PictureReader, openFolder } from '../pictures.js';
import { makeWhole } from '../prepare/whole-folder.js';
import { INDEX_NAME, type ShardEntry, type ShardIndex, shardName } from './shard-index.js';

export interface PackOptions extends Pick<OpenOptions, 'signal' | 'onProgress'> {
  /** A shard has no more bytes, unless one picture alone has. */
  shardBytes?: number;
  maxPictures?: number;
}

/** Large enough for an object store to send at full speed, small enough to be fetched and checked in seconds. */
export const DEFAULT_SHARD_BYTES = 256e6;

/** Half as many again as ImageNet has: a much longer index is more than a string of Node's can hold. */
const DEFAULT_MAX_PICTURES = 2_000_000;

const BLOCK = 512;
/** Two empty blocks end a tar. */
const END = new Uint8Array(2 * BLOCK);

/**
 * Packs a folder of class folders into plain tar files of about one size, and an index of what lies where. The pictures'
 * bytes and paths stay as they are, in the folder's order, and nothing of owner or time is kept: the same folder gives
 * the same bytes. Opened, the shards are the same data set as the folder.
 *
 * The layout is WebDataset's, but for one thing: a sample there is what shares a path up to the first dot.
 *
 * @throws {UserError} as `openDataset` does for the folders, when there are too many pictures or one can't be read, or `out` is not empty or in `source`
 */
export async function packShards(source: string, out: string, { shardBytes = DEFAULT_SHARD_BYTES, maxPictures = DEFAULT_MAX_PICTURES, signal, onProgress }: PackOptions = {}): Promise<ShardIndex> {
  const way = relative(source, out);
  if (!way.startsWith('..') && !isAbsolute(way)) throw new UserError(`${out} lies in ${source}, where it would be taken for a class. Choose a folder outside it.`, { exitCode: 2 });
  const folder = await openFolder(source, signal);
  const { classes, train, valid } = await readLayout(folder, { signal });
  const paths = [...train, ...valid].map(({ path }) => path);
  if (paths.length > maxPictures) throw new UserError(`${source} has ${paths.length} pictures; an index holds ${maxPictures} at most. Pack a part of the classes, or train with the folder.`);
  await using pictures = new PictureReader(folder);
  return await makeWhole(out, async (partial) => {
    const shards: ShardIndex['shards'] = [];
    let shard: Shard | null = null;
    try {
      for (const [done, path] of paths.entries()) {
        signal?.throwIfAborted();
        const bytes = await readForPacking(pictures, path, source);
        const entry = entryOf(path, bytes);
        if (shard && shard.bytes + entry.whole.length + END.length > shardBytes) {
          shards.push(await shard.finish());
          shard = null;
        }
        shard ??= await Shard.begin(partial, shards.length);
        await shard.add(entry);
        onProgress?.(done + 1, paths.length);
      }
      if (shard) shards.push(await shard.finish());
    } finally {
      await shard?.close();
    }
    const index: ShardIndex = { formatVersion: 1, classes, shards };
    await writeFile(join(partial, INDEX_NAME), `${JSON.stringify(index, null, 1)}\n`);
    return index;
  });
}

async function readForPacking(pictures: PictureReader, path: string, source: string): Promise<Uint8Array> {
  try {
    return await pictures.bytes(path);
  } catch (error) {
    if (error instanceof PictureError) throw new UserError(`${join(source, path)} ${error.problem}. Mend or remove it, and pack again: nothing was written.`, { cause: error });
    throw error;
  }
}

/** A picture as a tar has it: headers, bytes and what fills the last block. */
interface PackedEntry {
  name: string;
  whole: Uint8Array;
  headerBytes: number;
  bytes: Uint8Array;
}

function entryOf(name: string, bytes: Uint8Array): PackedEntry {
  const header = headerOf(name, bytes.length);
  const filling = (BLOCK - (bytes.length % BLOCK)) % BLOCK;
  return { name, whole: Buffer.concat([header, bytes, new Uint8Array(filling)]), headerBytes: header.length, bytes };
}

/** ustar, and before it a pax header for a name that is too long for ustar or not of ASCII alone. */
function headerOf(path: string, size: number): Uint8Array {
  const header = new Header({ path, mode: 0o644, uid: 0, gid: 0, size, mtime: new Date(0), type: 'File' });
  const needsPax = header.encode();
  return needsPax ? Buffer.concat([new Pax({ path, size, mtime: new Date(0) }).encode(), header.block!]) : header.block!;
}

/** A shard that is being written. */
class Shard {
  readonly #entries: ShardEntry[] = [];
  readonly #hash: Hash = createHash('sha256');
  #bytes = 0;

  private constructor(private readonly name: string, private readonly handle: FileHandle) {}

  static async begin(folder: string, number: number): Promise<Shard> {
    const name = shardName(number);
    return new Shard(name, await open(join(folder, name), 'wx'));
  }

  /** Written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  async add({ name, whole, headerBytes, bytes }: PackedEntry): Promise<void> {
    this.#entries.push({ name, offset: this.#bytes + headerBytes, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
    await this.#write(whole);
  }

  async finish(): Promise<ShardIndex['shards'][number]> {
    await this.#write(END);
    await this.handle.close();
    return { file: this.name, bytes: this.#bytes, sha256: this.#hash.digest('hex'), entries: this.#entries };
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  /** Not by `write`, which may write less than all, as a full disk's last one does. */
  async #write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    await this.handle.writeFile(bytes);
  }
}
