import { createWriteStream } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UserError, nearest } from '@chameleon/core';
import { hasPictureName } from '../picture-type.js';
import { readTar } from './tar-entries.js';
import { makeWhole } from './whole-folder.js';
import { readZip } from './zip-entries.js';

/** A picture in an archive, in the archive's order. `size` is what its header says, in bytes. */
export interface ArchiveEntry {
  path: string;
  size: number;
  open: () => Promise<Readable>;
}

export interface PrepareOptions {
  signal?: AbortSignal | undefined;
  onProgress?: (done: number, total: number) => void;
  maxFiles?: number;
  /** Of the pictures, unpacked. */
  maxBytes?: number;
}

/** Which class folders an archive is expected to hold; null: whatever it holds. */
const KINDS: Record<string, readonly string[] | null> = { camouflage: ['camouflage_clothes', 'normal_clothes'], folders: null };

/**
 * Unpacks an archive's pictures into a folder of class folders: `camouflage` takes Kaggle's archive as it comes, its two
 * folders at any depth; `folders` any archive with class folders, with train and valid (val, test) above them or not.
 * `out` is whole in the end, or absent.
 *
 * @throws {UserError} when the archive is none, holds something else, is too large, or has a path that leads out of it
 */
export async function prepareDataset(kind: string, archive: string, out: string, options: PrepareOptions = {}): Promise<{ counts: Record<string, number> }> {
  const wanted = KINDS[kind];
  if (wanted === undefined) {
    const near = nearest(kind, [...Object.keys(KINDS), 'shards']);
    throw new UserError(`There is no kind of archive called ${kind}. ${near ? `Did you mean ${near}? ` : ''}Choose ${Object.keys(KINDS).join(' or ')} to unpack one, or shards to pack a folder.`, { exitCode: 2 });
  }
  return makeWhole(out, async (partial) => {
    const counts = await unpack(archive, partial, wanted, options);
    for (const label of wanted ?? []) if (!counts[label]) throw new UserError(`${archive} has no picture in a folder ${label}. It should hold ${wanted!.join(' and ')}.`);
    if (Object.keys(counts).length < 2) throw new UserError(`${archive} holds pictures of ${Object.keys(counts).length} classes; a classifier needs two. Pictures are expected in a folder for each class.`);
    return { counts };
  });
}

async function unpack(archive: string, target: string, wanted: readonly string[] | null, { signal, onProgress, maxFiles = 2_000_000, maxBytes = 200e9 }: PrepareOptions): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const total = (await stat(archive).catch(() => null))?.size ?? 0;
  let files = 0, bytes = 0;
  const take = async (entry: ArchiveEntry, position: number): Promise<void> => {
    signal?.throwIfAborted();
    const place = placeOf(entry.path, wanted, archive);
    if (place === null) return;
    files++;
    bytes += entry.size;
    if (files > maxFiles || bytes > maxBytes) throw new UserError(`${archive} unpacks to more than ${files > maxFiles ? `${maxFiles} files` : `${maxBytes} bytes`}: it is left alone.`);
    const path = join(target, place.folder, basename(entry.path));
    await mkdir(dirname(path), { recursive: true });
    await pipeline(await entry.open(), createWriteStream(path, { flags: 'wx' }), ...(signal ? [{ signal }] : [])).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new UserError(`${archive} has two pictures called ${place.folder}/${basename(entry.path)}.`, { cause: error });
      throw error;
    });
    counts[place.label] = (counts[place.label] ?? 0) + 1;
    onProgress?.(position, total);
  };
  if ((await firstBytes(archive)).startsWith('PK')) await readZip(archive, take);
  else await readTar(archive, take);
  return counts;
}

const SIDES = new Set(['train', 'valid', 'val', 'test']);

/** Where a picture goes, or null for what is none of the data set's. @throws {UserError} for a path that leads elsewhere */
export function placeOf(path: string, wanted: readonly string[] | null, archive: string): { folder: string; label: string } | null {
  const parts = path.replaceAll('\\', '/').split('/').filter((part) => part !== '' && part !== '.');
  if (path.startsWith('/') || /^[a-z]:/i.test(path) || parts.includes('..')) throw new UserError(`${archive} holds ${path}, which leads out of it. It was not unpacked.`);
  const name = parts.at(-1);
  if (!name || name.startsWith('.') || parts[0] === '__MACOSX' || !hasPictureName(name)) return null;
  const label = wanted ? parts.slice(0, -1).find((part) => wanted.includes(part)) : parts.at(-2);
  if (label === undefined) return null;
  const side = parts.slice(0, parts.indexOf(label)).findLast((part) => SIDES.has(part));
  return { folder: side && !wanted ? `${side}/${label}` : label, label };
}

async function firstBytes(archive: string): Promise<string> {
  try {
    await using file = await open(archive);
    const { buffer, bytesRead } = await file.read(new Uint8Array(4), 0, 4, 0);
    return Buffer.from(buffer.subarray(0, bytesRead)).toString('latin1');
  } catch (error) {
    throw new UserError(`The archive ${archive} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { cause: error });
  }
}

