import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { mapBounded } from './bounded.js';
import { type OpenOptions, type Picture, type SkippedFile, readLayout } from './dataset.js';
import { decodePicture } from './decode.js';
import { PictureError } from './picture-error.js';
import { PictureReader, openFolder } from './pictures.js';
import { INDEX_NAME } from './shards/shard-index.js';
import type { ShardSet } from './shards/shard-set.js';

export interface ClassFindings {
  label: string;
  train: number;
  valid: number;
  /** Shorter sides in pixels; null for a class without a whole picture. */
  shorterSide: { least: number; greatest: number } | null;
}

export interface DatasetFindings {
  classes: ClassFindings[];
  /** Pictures of the largest class over those of the smallest, for training. */
  imbalance: number;
  bad: SkippedFile[];
  /** Groups of files with the same bytes on one side. */
  duplicates: string[][];
  /** Groups of files with the same bytes on both sides: what is judged by was learnt from. */
  leaks: string[][];
  /** Files with the same bytes under different labels. */
  contradictions: string[][];
  otherFiles: number;
}

interface Looked {
  picture: Picture;
  side: 'train' | 'valid';
  /** Null for a picture whose bytes could not be had. */
  digest: string | null;
  shorterSide: number | null;
  reason: string | null;
}

const CONCURRENCY = 8;

/** Decodes every picture of a folder whole, and compares files by their bytes; shards are compared with their index. @throws {UserError} as `openDataset` does for folders */
export async function checkDataset(root: string, { signal, onProgress }: Pick<OpenOptions, 'signal' | 'onProgress'> = {}): Promise<DatasetFindings> {
  const folder = await openFolder(root, signal);
  const layout = await readLayout(folder, { signal });
  await using pictures = new PictureReader(folder);
  const all = [...layout.train.map((picture) => ({ picture, side: 'train' as const })), ...layout.valid.map((picture) => ({ picture, side: 'valid' as const }))];
  let done = 0;
  const looked = await mapBounded(all, CONCURRENCY, async (item) => {
    const result = await look(pictures, item);
    onProgress?.(++done, all.length);
    return result;
  }, signal);
  const { bad, ...found } = summarise(layout.classes, looked);
  return { ...found, bad: [...bad, ...(folder.shards ? await otherShards(root, folder.shards, signal) : [])], otherFiles: layout.otherFiles };
}

async function look(pictures: PictureReader, { picture, side }: Pick<Looked, 'picture' | 'side'>): Promise<Looked> {
  let digest: string | null = null;
  try {
    const bytes = await pictures.bytes(picture.path);
    digest = createHash('sha256').update(bytes).digest('hex');
    const { width, height } = await decodePicture(bytes, { name: picture.path });
    return { picture, side, digest, shorterSide: Math.min(width, height), reason: null };
  } catch (error) {
    if (error instanceof PictureError) return { picture, side, digest, shorterSide: null, reason: error.problem };
    throw error;
  }
}

/** Shards whose bytes, headers among them, are others than the index says: other programs read those too. */
async function otherShards(root: string, { index }: ShardSet, signal?: AbortSignal): Promise<SkippedFile[]> {
  const states = await mapBounded(index.shards, CONCURRENCY, async ({ file, sha256 }) => {
    const hash = createHash('sha256');
    await pipeline(createReadStream(join(root, file)), hash, ...(signal ? [{ signal }] : []));
    return hash.digest('hex') === sha256;
  }, signal);
  return index.shards.flatMap(({ file }, i) => (states[i] ? [] : [{ path: file, reason: `has other bytes than ${INDEX_NAME} says` }]));
}

/** What the looks at single files say of the whole. */
export function summarise(classes: readonly string[], looked: readonly Looked[]): Omit<DatasetFindings, 'otherFiles'> {
  const byDigest = new Map<string, Looked[]>();
  for (const item of looked) if (item.digest !== null) byDigest.set(item.digest, [...(byDigest.get(item.digest) ?? []), item]);
  const same = [...byDigest.values()].filter((group) => group.length > 1);
  const paths = (groups: Looked[][]) => groups.map((group) => group.map((item) => item.picture.path));
  const bothSides = (group: Looked[]) => new Set(group.map((item) => item.side)).size > 1;
  const figures = classes.map((label, index): ClassFindings => {
    const own = looked.filter((item) => item.picture.label === index);
    const sides = own.flatMap((item) => (item.shorterSide === null ? [] : [item.shorterSide]));
    const count = (side: Looked['side']) => own.filter((item) => item.side === side).length;
    return { label, train: count('train'), valid: count('valid'), shorterSide: sides.length === 0 ? null : { least: Math.min(...sides), greatest: Math.max(...sides) } };
  });
  const counts = figures.map((figure) => figure.train);
  return {
    classes: figures,
    imbalance: Math.max(...counts) / Math.max(1, Math.min(...counts)),
    bad: looked.flatMap(({ picture, reason }) => (reason === null ? [] : [{ path: picture.path, reason }])),
    duplicates: paths(same.filter((group) => !bothSides(group))),
    leaks: paths(same.filter(bothSides)),
    contradictions: paths(same.filter((group) => new Set(group.map((item) => item.picture.label)).size > 1)),
  };
}
