import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type FolderTree, diskTree } from './class-folders.js';
import { readError } from './decode.js';
import { PictureError } from './picture-error.js';
import { ShardReader } from './shards/shard-reader.js';
import { type ShardPart, type ShardSet, openShards, shardTree } from './shards/shard-set.js';

/** Where a data set's pictures lie: a file each in the folders of `root`, or in shards there. */
export interface PictureFolder {
  root: string;
  /** Null where each picture is a file. */
  shards: ShardSet | null;
}

/** Where one picture's bytes lie: a file's path, or a part of a shard; null: the shards don't have it. */
export type PicturePlace = string | ShardPart | null;

/** @throws {UserError} where there are shards that can't be used */
export async function openFolder(root: string, signal?: AbortSignal): Promise<PictureFolder> {
  return { root, shards: await openShards(root, signal) };
}

export const treeOf = ({ root, shards }: PictureFolder): FolderTree => (shards ? shardTree(shards) : diskTree(root));

/** @param path relative to the root, with '/' between folders */
export const placeOf = ({ root, shards }: PictureFolder, path: string): PicturePlace => (shards ? (shards.parts.get(path) ?? null) : join(root, path));

/** What is decoded: a file's path, or a part's bytes. @throws {PictureError} for a picture that its shard does not give */
export function sourceAt(place: PicturePlace, name: string, shards: ShardReader): Promise<string | Uint8Array> {
  if (place === null) return Promise.reject(new PictureError(name, 'missing', 'is in none of the shards'));
  return typeof place === 'string' ? Promise.resolve(place) : shards.read(place, name);
}

/**
 * The pictures of a folder as `decodePicture` and its like take them, whichever way they lie.
 *
 * @example
 * await using pictures = await PictureReader.open('photos');
 * const { width, height } = await decodePicture(await pictures.source('cat/1.jpg'));
 */
export class PictureReader implements AsyncDisposable {
  readonly #shards = new ShardReader();

  constructor(readonly folder: PictureFolder) {}

  static async open(root: string): Promise<PictureReader> {
    return new PictureReader(await openFolder(root));
  }

  /** A picture's path on the disk, or its bytes out of a shard. @throws {PictureError} for a shard that can't be read, or has other bytes */
  source(path: string): Promise<string | Uint8Array> {
    return sourceAt(placeOf(this.folder, path), path, this.#shards);
  }

  /** A picture's bytes. @throws {PictureError} where they can't be read */
  async bytes(path: string): Promise<Uint8Array> {
    const source = await this.source(path);
    if (typeof source !== 'string') return source;
    return readFile(source).catch((error: unknown) => {
      throw readError(error, path);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#shards[Symbol.asyncDispose]();
  }
}
