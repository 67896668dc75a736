import { mkdir, readFile, readdir, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '@chameleon/core';
import lockfile from 'proper-lockfile';
import { explainDisk } from '../files.js';
import { weightsFolder } from '../weights/registry.js';

/**
 * Files that workers of this machine fetched, a folder for each data set, named by its manifest's digest. A set is fetched by
 * one worker while the others of the machine wait for it; a set that a living worker uses is never removed; of the others the
 * ones that were used longest ago make room.
 */
export interface DataCache {
  folder: string;
  /** All sets together. */
  maxBytes: number;
}

export const DEFAULT_CACHE_BYTES = 200e9;

export const defaultDataCache = (environment: NodeJS.ProcessEnv = process.env): DataCache => ({ folder: join(weightsFolder(environment), 'data'), maxBytes: DEFAULT_CACHE_BYTES });

/** A set that this process holds: its lock until the files are whole, and its use until the worker ends. */
export interface CachedSet {
  /** Where its files lie. */
  files: string;
  /** Makes room for what is to come. @throws UserError where there is none */
  reserve(wholeBytes: number, missingBytes: number): Promise<void>;
  /** Lets the others of this machine in. */
  unlock(): Promise<void>;
  /** The worker needs the files no longer. */
  release(): Promise<void>;
}

/** After so long without a sign of life a lock's holder is gone. */
const STALE_MS = 15_000;
/** How long a set is waited for that another worker of this machine fetches. */
const WAIT_MS = 6 * 3_600_000;
const LOOK_MS = 250;
/** A user on another machine (the cache lies on a shared file system) is believed for so long. */
const FOREIGN_USE_MS = 24 * 3_600_000;

/** Takes hold of a set, new or not, once no other worker of this machine is fetching it. */
export async function openCachedSet({ folder, maxBytes }: DataCache, name: string, { signal, onWait }: { signal: AbortSignal; onWait: () => void }): Promise<CachedSet> {
  const set = join(folder, name), files = join(set, 'files'), uses = join(set, 'uses');
  try {
    await mkdir(files, { recursive: true });
    const unlock = await lockWithin(set, { signal, onWait });
    await mkdir(uses, { recursive: true });
    const use = join(uses, `${hostname()}.${process.pid}`);
    await writeFile(use, '');
    return {
      files,
      unlock,
      reserve: (wholeBytes, missingBytes) => reserve({ folder, maxBytes }, name, wholeBytes, missingBytes, signal),
      release: () => rm(use, { force: true }),
    };
  } catch (error) {
    throw explainCache(error, folder);
  }
}

export const explainCache = (error: unknown, path: string): unknown => {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') return new UserError(`The disk is full: ${path} could not be written. What was fetched whole is kept. Free some space, or name another folder with --data-cache.`, { cause: error });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return new UserError(`${path} may not be written (${code}). Name another folder with --data-cache.`, { cause: error });
  return explainDisk(error, path);
};

async function lockWithin(path: string, { signal, onWait }: { signal: AbortSignal; onWait: () => void }): Promise<() => Promise<void>> {
  const untilMs = performance.now() + WAIT_MS;
  for (let told = false; ; ) {
    signal.throwIfAborted();
    try {
      return await lockfile.lock(path, { stale: STALE_MS, update: STALE_MS / 5 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED' || performance.now() > untilMs) throw error;
    }
    if (!told) onWait();
    told = true;
    await sleep(LOOK_MS, undefined, { signal });
  }
}

async function reserve({ folder, maxBytes }: DataCache, name: string, wholeBytes: number, missingBytes: number, signal: AbortSignal): Promise<void> {
  if (wholeBytes > maxBytes) throw new UserError(`The files of this run have ${gigabytes(wholeBytes)}, more than the cache in ${folder} may hold (${gigabytes(maxBytes)}). Raise --data-cache-size, or copy them here and say where with --data.`);
  const unlock = await lockWithin(folder, { signal, onWait: () => undefined });
  try {
    await writeFile(join(folder, name, 'bytes'), String(wholeBytes));
    const sets = await readSets(folder);
    let total = sets.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const set of sets.filter((one) => one.name !== name).sort((a, b) => a.usedMs - b.usedMs)) {
      if (total <= maxBytes) break;
      if (await isInUse(set.path)) continue;
      await rm(set.path, { recursive: true, force: true });
      total -= set.bytes;
    }
    if (total > maxBytes) throw new UserError(`The cache in ${folder} may hold ${gigabytes(maxBytes)}, and what living workers of other runs use leaves no room for ${gigabytes(wholeBytes)} more. Raise --data-cache-size, or wait for them.`);
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize < missingBytes) throw new UserError(`The disk has ${gigabytes(bavail * bsize)} left in ${folder}; the files of this run need ${gigabytes(missingBytes)}. Free some space, or name another folder with --data-cache.`);
  } finally {
    await unlock();
  }
}

interface SetEntry {
  name: string;
  path: string;
  bytes: number;
  usedMs: number;
}

async function readSets(folder: string): Promise<SetEntry[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const sets = entries.filter((entry) => entry.isDirectory() && !entry.name.endsWith('.lock'));
  return Promise.all(sets.map(async ({ name }) => {
    const path = join(folder, name);
    const [bytes, there] = await Promise.all([readFile(join(path, 'bytes'), 'utf8').catch(() => '0'), stat(join(path, 'bytes')).catch(() => null)]);
    return { name, path, bytes: Number(bytes) || 0, usedMs: there?.mtimeMs ?? 0 };
  }));
}

/** Says that a set was used now. */
export const touchSet = async (cache: DataCache, name: string): Promise<void> => {
  const now = new Date();
  await utimes(join(cache.folder, name, 'bytes'), now, now).catch(() => undefined);
};

async function isInUse(set: string): Promise<boolean> {
  if (await lockfile.check(set, { stale: STALE_MS }).catch(() => false)) return true;
  for (const use of await readdir(join(set, 'uses')).catch(() => [])) {
    const at = use.lastIndexOf('.');
    if (use.slice(0, at) !== hostname()) {
      const there = await stat(join(set, 'uses', use)).catch(() => null);
      if (there && Date.now() - there.mtimeMs < FOREIGN_USE_MS) return true;
    } else if (isAlive(Number(use.slice(at + 1)))) {
      return true;
    }
  }
  return false;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

export const gigabytes = (bytes: number): string => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
