import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '@chameleon/core/errors';
import { mapBounded } from '../bounded.js';
import type { FolderTree } from '../class-folders.js';
import { INDEX_NAME, type ShardIndex, parseShardIndex } from './shard-index.js';

/** Where a picture's bytes lie in a shard. */
export interface ShardPart {
  /** The shard's path. */
  file: string;
  offset: number;
  bytes: number;
  sha256: string;
}

/** A folder's index, and its file's length and digest. */
export interface ReadIndex {
  index: ShardIndex;
  bytes: number;
  sha256: string;
}

/** A folder of shards, opened: its index, and the parts by the pictures' names. No shard is open yet. */
export interface ShardSet extends ReadIndex {
  parts: ReadonlyMap<string, ShardPart>;
}

/** Shards that are looked at at the same time. */
const CONCURRENCY = 8;

/**
 * The shards in a folder; null where it has no index and so holds pictures as files, if anything.
 * @throws {UserError} when the index can't be read, or a shard is missing or has another length than the index says
 */
export async function openShards(root: string, signal?: AbortSignal): Promise<ShardSet | null> {
  const read = await readShardIndex(root);
  if (read === null) return null;
  await mapBounded(read.index.shards, CONCURRENCY, ({ file, bytes }) => requireLength(join(root, file), bytes), signal);
  return { ...read, parts: partsOf(root, read.index) };
}

/** A folder's index, whatever has become of the shards; null where it has none. @throws {UserError} when it can't be read */
export async function readShardIndex(root: string): Promise<ReadIndex | null> {
  const path = join(root, INDEX_NAME), text = await readIfThere(path);
  return text && { index: parseShardIndex(text.toString(), path), bytes: text.length, sha256: createHash('sha256').update(text).digest('hex') };
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new UserError(`${path} can't be read (${code ?? String(error)}). Mend its permissions, or the file system that it lies on.`, { cause: error });
  }
}

function partsOf(root: string, index: ShardIndex): ShardSet['parts'] {
  const parts = new Map<string, ShardPart>();
  for (const { file, entries } of index.shards) {
    const path = join(root, file);
    for (const { name, offset, bytes, sha256 } of entries) parts.set(name, { file: path, offset, bytes, sha256 });
  }
  return parts;
}

async function requireLength(path: string, bytes: number): Promise<void> {
  const { size } = await stat(path).catch((error: unknown) => {
    throw new UserError(`The shard ${path} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}), and ${INDEX_NAME} names it. Copy it there, or mount the whole folder.`, { cause: error });
  });
  if (size !== bytes) throw new UserError(`The shard ${path} has ${size} bytes instead of the ${bytes} that ${INDEX_NAME} says: ${size < bytes ? 'it was cut short' : 'it is another file'}. Copy it anew.`);
}

/** The folders that were packed, as if they lay there. */
export function shardTree({ parts }: ShardSet): FolderTree {
  const contents = new Map<string, { folders: Set<string>; files: string[] }>();
  const contentOf = (folder: string) => {
    const there = contents.get(folder);
    if (there) return there;
    const made = { folders: new Set<string>(), files: [] };
    contents.set(folder, made);
    return made;
  };
  contentOf('');
  for (const name of parts.keys()) {
    const steps = name.split('/');
    contentOf(steps.slice(0, -1).join('/')).files.push(steps.at(-1)!);
    for (let depth = steps.length - 1; depth > 0; depth--) contentOf(steps.slice(0, depth - 1).join('/')).folders.add(steps[depth - 1]!);
  }
  return {
    list: (path) => {
      const { folders, files } = contents.get(path) ?? { folders: [], files: [] };
      return Promise.resolve({ folders: [...folders].sort(), files: [...files].sort() });
    },
    identify: (path) => Promise.resolve(path),
  };
}
