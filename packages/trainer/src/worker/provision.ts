import { readFile, stat } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import { UserError } from '@chameleon/core';
import { INDEX_NAME, type Manifest, parseShardIndex, verifyManifest } from '@chameleon/data';
import type { Metadata } from '@grpc/grpc-js';
import { type TrainConfig, parseConfig } from '../config.js';
import { sha256OfFile } from '../files.js';
import type { Welcome, WorkerServiceClient } from '../generated/chameleon/trainer/v1/trainer.js';
import { fileOfWeights } from '../weights/resolve.js';
import { type CachedSet, type DataCache, gigabytes, openCachedSet, touchSet } from './data-cache.js';
import { fetchManifest, requireData } from './data-proof.js';
import { type FetchOptions, type NeededFile, fetchFiles } from './fetch-files.js';

/**
 * What a worker computes from: the run's configuration, with pictures and start weights that are proved to be the run's. Where
 * they lie here that is a matter of digests; where they don't they are fetched from the coordinator's machine, file by file or
 * shard by shard, all before the worker joins. Every worker needs every picture sooner or later, for an epoch's order is a permutation of the whole and slices
 * move with the generations; fetched as they are needed, a slow link would hold up the step of all the others, whereas who
 * fetches first holds up nobody.
 */

export interface ProvisionOptions {
  client: WorkerServiceClient;
  metadata: Metadata;
  welcome: Welcome;
  /** Where the pictures lie here, as the user said. */
  data: string | undefined;
  cache: DataCache;
  patienceMs: number;
  signal: AbortSignal;
  log: (line: string) => void;
  /** What is being done, for the coordinator's status. */
  onPhase: (phase: string) => void;
}

export interface Provision {
  config: TrainConfig;
  manifest: Manifest;
  /** Fetched files may go now. */
  release(): Promise<void>;
}

/** How often a line says how far the fetching is. */
const TELL_MS = 2_000;

/** @throws UserError where pictures or weights are others than the run's, or can't be fetched */
export async function provision(options: ProvisionOptions): Promise<Provision> {
  const { client, metadata, welcome, signal } = options;
  options.onPhase('checking pictures');
  const manifest = await fetchManifest(client, metadata, welcome.runId, welcome.manifestSha256);
  const configured = parseConfig(JSON.parse(welcome.configJson) as TrainConfig);
  const sets: CachedSet[] = [];
  const release = async () => void (await Promise.all(sets.map((set) => set.release())));
  try {
    const data = options.data ?? (await folderOrFetched(configured.data, manifest, options, sets));
    if (options.data !== undefined || sets.length === 0) await requireData(data, manifest, signal);
    const weights = await startWeights(configured.weights, options, sets);
    return { config: { ...configured, data, weights }, manifest, release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** The configuration's own folder where it is here, else a fetched one. */
async function folderOrFetched(folder: string, manifest: Manifest, options: ProvisionOptions, sets: CachedSet[]): Promise<string> {
  if (await stat(folder).catch(() => null)) return folder;
  const set = options.welcome.shardsSha256 === '' ? await fetchPictures(manifest, options) : await fetchShards(options);
  sets.push(set);
  if (options.welcome.shardsSha256 !== '') await requireData(set.files, manifest, options.signal);
  return set.files;
}

function fetchPictures(manifest: Manifest, options: ProvisionOptions): Promise<CachedSet> {
  return fetchSet(options.welcome.manifestSha256, options, 'pictures', async (files) => {
    const { missing, changed } = await verifyManifest(files, manifest, options.signal);
    const wanted = new Set([...missing, ...changed]);
    const needed = manifest.files.flatMap(({ path, bytes, sha256 }, picture): NeededFile[] => (wanted.has(path) ? [{ what: { $case: 'picture', value: picture }, name: path, path: placeIn(files, path), bytes, sha256 }] : []));
    return { needed, wholeBytes: manifest.files.reduce((sum, { bytes }) => sum + bytes, 0) };
  });
}

/** The index first, which says what the shards are. */
function fetchShards(options: ProvisionOptions): Promise<CachedSet> {
  const { shardsSha256: sha256, shardsBytes: bytes } = options.welcome;
  return fetchSet(sha256, options, 'shards', async (files) => {
    const index: NeededFile = { what: { $case: 'shardIndex', value: true }, name: INDEX_NAME, path: join(files, INDEX_NAME), bytes, sha256 };
    if (!(await isHere(index))) await fetchFiles([index], fetching(options, () => undefined));
    const { shards } = parseShardIndex(await readFile(index.path, 'utf8'), index.path);
    const needed: NeededFile[] = [];
    for (const [number, { file, ...shard }] of shards.entries()) {
      options.signal.throwIfAborted();
      const wanted: NeededFile = { what: { $case: 'shard', value: number }, name: file, path: join(files, file), bytes: shard.bytes, sha256: shard.sha256 };
      if (!(await isHere(wanted))) needed.push(wanted);
    }
    return { needed, wholeBytes: shards.reduce((sum, shard) => sum + shard.bytes, bytes) };
  });
}

const isHere = async ({ path, bytes, sha256 }: NeededFile): Promise<boolean> => (await stat(path).catch(() => null))?.size === bytes && (await sha256OfFile(path)) === sha256;

const fetching = ({ client, metadata, welcome, patienceMs, signal }: ProvisionOptions, onProgress: FetchOptions['onProgress']): FetchOptions => ({ client, metadata, runId: welcome.runId, patienceMs, signal, onProgress });

/** The weights by a name or path that opens the coordinator's file here. */
async function startWeights(named: string, options: ProvisionOptions, sets: CachedSet[]): Promise<string> {
  const { weightsSha256: sha256, weightsBytes: bytes } = options.welcome;
  if (sha256 === '') return named;
  const here = await fileOfWeights(named);
  if (here !== null) {
    if ((await sha256OfFile(here)) === sha256) return named;
    throw new UserError(`The weights ${named} on this machine are others than the ones that the run starts from. Copy the coordinator's file here${isAbsolute(named) ? `, or remove ${named} to have it fetched` : `: chameleon weights pull ${named}`}.`);
  }
  const name = basename(named).replaceAll(/[^\w.-]/g, '_');
  const set = await fetchSet(sha256, options, 'start weights', async (files) => {
    const file: NeededFile = { what: { $case: 'startWeights', value: true }, name: 'the start weights', path: join(files, name), bytes, sha256 };
    return { needed: (await isHere(file)) ? [] : [file], wholeBytes: bytes };
  });
  sets.push(set);
  return join(set.files, name);
}

/** A set of the cache with all its files. `findNeeded` says which are not in its folder, and what all have together. */
async function fetchSet(name: string, options: ProvisionOptions, what: string, findNeeded: (files: string) => Promise<{ needed: NeededFile[]; wholeBytes: number }>): Promise<CachedSet> {
  const { cache, signal, log, onPhase } = options;
  const set = await openCachedSet(cache, name, { signal, onWait: () => log(`another worker of this machine fetches the ${what}; waiting for it`) });
  try {
    const { needed, wholeBytes } = await findNeeded(set.files);
    if (needed.length > 0) {
      const missing = needed.reduce((sum, { bytes }) => sum + bytes, 0);
      await set.reserve(wholeBytes, missing);
      log(`fetching ${what}: ${needed.length} ${needed.length === 1 ? 'file' : 'files'}, ${gigabytes(missing)}, into ${set.files}`);
      const tell = teller(what, missing, log, onPhase);
      await fetchFiles(needed, fetching(options, tell));
      log(`fetched the ${what}`);
    }
    await touchSet(cache, name);
    return set;
  } catch (error) {
    await set.release();
    throw error;
  } finally {
    await set.unlock().catch(() => undefined);
  }
}

function teller(what: string, wholeBytes: number, log: (line: string) => void, onPhase: (phase: string) => void): (bytes: number) => void {
  const startMs = performance.now();
  let done = 0, toldMs = startMs;
  return (bytes) => {
    done += bytes;
    const nowMs = performance.now(), percent = Math.min(100, Math.floor((100 * done) / wholeBytes));
    onPhase(`fetching ${what}, ${percent} %`);
    if (nowMs - toldMs < TELL_MS) return;
    toldMs = nowMs;
    log(`fetching ${what}: ${gigabytes(done)} of ${gigabytes(wholeBytes)}, ${percent} %, ${gigabytes((1000 * done) / (nowMs - startMs))} a second`);
  };
}

/** A path of the manifest inside a folder. @throws UserError for one that leads out of it: a coordinator is trusted with pictures, not with this machine */
export function placeIn(folder: string, path: string): string {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..') || /[\\\0]|^[a-z]:/i.test(path)) throw new UserError(`The run's manifest names ${JSON.stringify(path)}, which leads out of its folder. Nothing of it was fetched.`);
  return join(folder, ...parts);
}
