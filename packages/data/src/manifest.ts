import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { mapBounded } from './bounded.js';
import type { Dataset } from './dataset.js';
import { openFolder } from './pictures.js';
import type { ShardSet } from './shards/shard-set.js';

/** `manifest.json`: which files a run trained with, by digest, so that another machine or a later day can prove that it has the same. */
export const manifestSchema = z.object({
  formatVersion: z.literal(1),
  classes: z.array(z.string()),
  split: z.enum(['article', 'stratified', 'folders']),
  files: z.array(z.object({ path: z.string(), label: z.number().int().nonnegative(), side: z.enum(['train', 'valid']), bytes: z.number().int().nonnegative(), sha256: z.string() })),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** Files that are read at the same time. */
const CONCURRENCY = 8;

/** A folder and the shards it was packed into have the same manifest. Of shards the digests are the index's, which opening has proved. */
export async function makeManifest({ root, shards, classes, split, train, valid }: Dataset, signal?: AbortSignal): Promise<Manifest> {
  const sides = [...train.map((picture) => ({ ...picture, side: 'train' as const })), ...valid.map((picture) => ({ ...picture, side: 'valid' as const }))];
  const files = await mapBounded(sides, CONCURRENCY, async (file) => ({ ...file, ...(shards ? digestIn(shards, file.path)! : await digestOf(join(root, file.path))) }), signal);
  return { formatVersion: 1, classes, split, files };
}

/** The data set that a manifest lists, as it lies in `root`. Its pictures are not looked at. @throws {UserError} where there are shards that can't be used */
export async function openListed(root: string, { classes, split, files }: Manifest): Promise<Dataset> {
  const side = (wanted: 'train' | 'valid') => files.filter((file) => file.side === wanted).map(({ path, label }) => ({ path, label }));
  return { ...(await openFolder(root)), classes, split, train: side('train'), valid: side('valid'), skipped: [], otherFiles: 0 };
}

/**
 * The manifest's files that are not in `root`, and those whose bytes are others. Of shards the index is compared and no
 * picture is read: whenever one is read later, its bytes are compared with the index.
 * @throws {UserError} when a shard is missing or cut short
 */
export async function verifyManifest(root: string, manifest: Manifest, signal?: AbortSignal): Promise<{ missing: string[]; changed: string[] }> {
  const { shards } = await openFolder(root, signal);
  const states = await mapBounded(manifest.files, CONCURRENCY, async ({ path, bytes, sha256 }) => {
    if (shards) {
      const part = digestIn(shards, path);
      return !part ? 'missing' : part.bytes === bytes && part.sha256 === sha256 ? 'same' : 'changed';
    }
    const there = await stat(join(root, path)).catch(() => null);
    if (!there) return 'missing';
    return there.size === bytes && (await digestOf(join(root, path))).sha256 === sha256 ? 'same' : 'changed';
  }, signal);
  const pathsOf = (state: string) => manifest.files.filter((_, i) => states[i] === state).map((file) => file.path);
  return { missing: pathsOf('missing'), changed: pathsOf('changed') };
}

function digestIn({ parts }: ShardSet, path: string): { bytes: number; sha256: string } | null {
  const part = parts.get(path);
  return part ? { bytes: part.bytes, sha256: part.sha256 } : null;
}

async function digestOf(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  const source = createReadStream(path);
  await pipeline(source, hash);
  return { bytes: source.bytesRead, sha256: hash.digest('hex') };
}
