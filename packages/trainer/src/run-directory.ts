import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { UserError, nearest } from '@chameleon/core';
import lockfile from 'proper-lockfile';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { TrainConfig } from './config.js';
import { type NewEvent, type RunEvent, effectiveEvents, parseEvents } from './events.js';
import { explainDisk, readIfThere, writeWhole } from './files.js';

/** `<yyyymmdd-hhmmss-recipe-xxxx>`, in UTC; the last part tells runs of one second apart. */
export function runId(recipe: string, now: Date, suffix = randomBytes(2).toString('hex')): string {
  const [date, time] = now.toISOString().slice(0, 19).replaceAll('-', '').replaceAll(':', '').split('T');
  return `${date}-${time}-${recipe}-${suffix}`;
}

/** What a run's directory holds, by name (DESIGN.md, section 6). */
export const FILES = {
  config: 'run.yaml',
  manifest: 'manifest.json',
  events: 'events.jsonl',
  checkpoints: 'checkpoints',
  model: 'model',
  validation: 'validation.jsonl',
  report: 'report.html',
} as const;

/** What `run.yaml` says beside the configuration. */
export interface RunFacts {
  version: string;
  backend: string;
  machine: Record<string, string>;
}

/** A run's directory, open for writing by this process alone. */
export class RunDirectory implements AsyncDisposable {
  private constructor(
    readonly path: string,
    readonly id: string,
    private readonly log: FileHandle,
    /** Of the log, in bytes: where its last whole line ends. */
    private logEnd: number,
    private readonly unlock: () => Promise<void>,
  ) {}

  /** Makes the directory and its `run.yaml`. @throws UserError when it exists already */
  static async create(path: string, config: TrainConfig, facts: RunFacts): Promise<RunDirectory> {
    await mkdir(dirname(path), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      throw explainDisk(error.code === 'EEXIST' ? Object.assign(error, { code: 'ENOTDIR' }) : error, dirname(path));
    });
    try {
      await mkdir(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new UserError(`The run directory ${path} exists already. Go on with it by --resume, or choose another with --run-dir.`, { cause: error });
      throw explainDisk(error, path);
    }
    try {
      await writeWhole(join(path, FILES.config), stringify({ ...facts, config }));
    } catch (error) {
      await rm(path, { recursive: true, force: true });
      throw error;
    }
    return RunDirectory.open(path);
  }

  /** @throws UserError when there is no run, or another process trains in it */
  static async open(path: string): Promise<RunDirectory> {
    if (!(await readIfThere(join(path, FILES.config)))) throw new UserError(`${path} is no run directory: it has no ${FILES.config}.`);
    const unlock = await lockRun(path);
    try {
      const bytes = (await readIfThere(join(path, FILES.events))) ?? Buffer.alloc(0);
      const log = await open(join(path, FILES.events), 'a');
      // A crash may have cut the last line off: it goes, since another after it would make it one in the middle.
      const logEnd = bytes.lastIndexOf('\n') + 1;
      if (logEnd < bytes.length) await log.truncate(logEnd);
      return new RunDirectory(path, basename(path), log, logEnd, unlock);
    } catch (error) {
      await unlock();
      throw explainDisk(error, path);
    }
  }

  /** Writes a fact down and gives it back with its time: a whole line, or none where the disk is full. */
  async append(event: NewEvent): Promise<RunEvent> {
    const { type, ...rest } = event;
    const dated = { type, time: new Date().toISOString(), ...rest } as RunEvent;
    const line = Buffer.from(`${JSON.stringify(dated)}\n`);
    try {
      await this.log.appendFile(line);
      this.logEnd += line.length;
    } catch (error) {
      await this.log.truncate(this.logEnd).catch(() => undefined);
      throw explainDisk(error, join(this.path, FILES.events));
    }
    return dated;
  }

  /** What was written reaches the disk before this resolves. */
  async sync(): Promise<void> {
    await this.log.sync();
  }

  write(name: string, content: string | Uint8Array): Promise<void> {
    return writeWhole(join(this.path, name), content);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.log.close();
    await this.unlock();
  }
}

/** Beside the lock while it is held: whose it is. */
const holderSchema = z.object({ host: z.string(), pid: z.number().int() });

/** The runs that this process holds. */
const held = new Set<string>();

/** Of another machine nothing is known: it is taken to live. This process's own number may have been another's, in a container that was started again. */
function isAlive({ host, pid }: z.infer<typeof holderSchema>, path: string): boolean {
  if (host !== hostname()) return true;
  if (pid === process.pid) return held.has(resolve(path));
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Locks a run for this process. The lock of one of this machine that was killed is taken over at once; another machine's holds for 15 s. */
async function lockRun(path: string): Promise<() => Promise<void>> {
  const lock = () => lockfile.lock(path, { stale: 15_000, update: 5_000, onCompromised: () => undefined });
  const holder = join(path, '.holder.json');
  const isLocked = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ELOCKED';
  const unlock = await lock()
    .catch(async (error: unknown) => {
      const found = holderSchema.safeParse(JSON.parse((await readIfThere(holder))?.toString() || 'null'));
      if (!isLocked(error) || !found.success || isAlive(found.data, path)) throw error;
      await rm(`${path}.lock`, { recursive: true, force: true });
      return lock();
    })
    .catch((error: unknown) => {
      if (!isLocked(error)) throw explainDisk(error, path);
      throw new UserError(`Another process is training in ${path}. Wait until it has ended, or stop it.`, { cause: error });
    });
  try {
    await writeWhole(holder, JSON.stringify({ host: hostname(), pid: process.pid }));
  } catch (error) {
    await unlock();
    throw explainDisk(error, path);
  }
  held.add(resolve(path));
  return async () => {
    held.delete(resolve(path));
    await rm(holder, { force: true });
    await unlock();
  };
}

/** A run's facts as they count, in order. */
export async function readEvents(path: string): Promise<RunEvent[]> {
  return effectiveEvents(parseEvents((await readIfThere(join(path, FILES.events)))?.toString() ?? ''));
}

/** The names of the run directories in a folder, oldest first. */
export async function listRuns(out: string): Promise<string[]> {
  const entries = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw explainDisk(error, out);
  });
  const found = await Promise.all(entries.map(async (name) => ((await stat(join(out, name, FILES.config)).catch(() => null)) ? name : null)));
  return found.filter((name) => name !== null).sort();
}

/**
 * The directory of a run that a person named: a path, a name in `out`, the beginning of one, or `last`.
 * @throws UserError when it means no run, or several
 */
export async function findRun(named: string, out: string): Promise<string> {
  if (await stat(join(named, FILES.config)).catch(() => null)) return named;
  const runs = await listRuns(out);
  if (runs.length === 0) throw new UserError(`There are no runs in ${out}. Train one with: chameleon train --data DIR, or name another folder with --out.`);
  if (named === 'last') return join(out, runs.at(-1)!);
  const matching = runs.filter((run) => run === named || run.startsWith(named) || run.endsWith(`-${named}`));
  if (matching.length === 1) return join(out, matching[0]!);
  if (matching.length > 1) throw new UserError(`${named} means ${matching.length} runs: ${matching.join(', ')}. Write more of the name.`, { exitCode: 2 });
  const near = nearest(named, runs);
  throw new UserError(`There is no run called ${named} in ${out}. ${near ? `Did you mean ${near}? ` : ''}\`chameleon runs list\` shows them.`, { exitCode: 2 });
}
