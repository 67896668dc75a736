import { open, readFile, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { RunDetail, RunSummary } from '../contract.js';
import { type Fact, readFact } from './facts.js';
import { RunRecord } from './run-record.js';

/** A run that has said nothing for so long, and didn't end, is silent. */
const SILENT_MS = 120_000;
const PATIENCE_MS = 400;
/** Whole records in memory, the last ones used. */
const OPEN_LIMIT = 24;
const END_BYTES = 65_536;

const runYaml = z.object({ machine: z.record(z.string(), z.coerce.string()).default({}), backend: z.string().default(''), version: z.coerce.string().default(''), config: z.record(z.string(), z.unknown()) });
const bestJson = z.object({ accuracy: z.number() });
type RunYaml = z.infer<typeof runYaml>;

/** The run directories in a folder, for reading only: whatever is in them, a page comes of it. */
export class RunLibrary {
  readonly #records = new Map<string, RunRecord>();
  readonly #summaries = new Map<string, { stamp: string; summary: RunSummary }>();

  constructor(private readonly folder: string) {}

  /** Newest first, those whose name has `filter` in it. */
  async list({ filter = '', offset = 0, limit = 50 }: { filter?: string; offset?: number; limit?: number }, nowMs: number): Promise<{ runs: RunSummary[]; total: number }> {
    const names = (await this.#names()).filter((name) => name.includes(filter));
    const runs = await Promise.all(names.slice(offset, offset + limit).map((name) => this.#summary(name, nowMs)));
    return { runs: runs.filter((run) => run !== null), total: names.length };
  }

  /** The folder of a run; null where there is none of this name. A name is never a path. */
  async pathOf(id: string): Promise<string | null> {
    if (id === '' || id.startsWith('.') || /[/\\\0]/.test(id)) return null;
    const path = join(this.folder, id);
    return (await stat(join(path, 'run.yaml')).catch(() => null)) ? path : null;
  }

  async detail(id: string, nowMs: number): Promise<RunDetail | null> {
    const path = await this.pathOf(id);
    if (path === null) return null;
    const [record, yaml, summary] = [await this.record(id), await readYaml(path), await this.#summary(id, nowMs)];
    const { start, epochs, marks, checkpointAtMs, skippedCount, readShare, brokenLines } = record;
    return {
      summary: { ...summary!, step: Math.max(summary!.step, record.curve.lastStep) },
      config: flatten(yaml?.config ?? {}),
      machine: { ...yaml?.machine, ...(yaml ? { backend: yaml.backend, chameleon: yaml.version } : {}) },
      classes: start?.classes ?? [], trainCount: start?.trainCount ?? 0, validCount: start?.validCount ?? 0,
      epochs, marks, checkpointAtMs, skippedCount, readShare, brokenLines,
    };
  }

  /** What the run wrote down, as far as it can be read within a moment. */
  async record(id: string): Promise<RunRecord> {
    const record = this.#records.get(id) ?? new RunRecord(join(this.folder, id, 'events.jsonl'));
    this.#records.delete(id);
    this.#records.set(id, record);
    const oldest = this.#records.keys().next().value;
    if (this.#records.size > OPEN_LIMIT && oldest !== undefined) this.#records.delete(oldest);
    await record.refresh(PATIENCE_MS);
    return record;
  }

  /** Where a run's pictures lie, as its configuration says: as seen from here, or from where the folder of runs is. */
  async dataFolder(id: string): Promise<string | null> {
    const path = await this.pathOf(id);
    const data = path === null ? undefined : (await readYaml(path))?.config['data'];
    if (typeof data !== 'string') return null;
    const places = [resolve(data), resolve(this.folder, '..', data)];
    return (await Promise.all(places.map((place) => stat(place).then(() => place, () => null)))).find((place) => place !== null) ?? null;
  }

  /** The files `experiments.json` in the folder and one below. */
  async experimentFiles(): Promise<string[]> {
    const names = await readdir(this.folder, { withFileTypes: true }).catch(() => []);
    const folders = names.filter((entry) => entry.isDirectory()).map(({ name }) => join(this.folder, name));
    const files = [this.folder, ...folders].map((folder) => join(folder, 'experiments.json'));
    return (await Promise.all(files.map((file) => stat(file).then(() => file, () => null)))).filter((file) => file !== null);
  }

  async #names(): Promise<string[]> {
    const entries = await readdir(this.folder).catch(() => []);
    const found = await Promise.all(entries.map(async (name) => ((await this.pathOf(name)) === null ? null : name)));
    return found.filter((name) => name !== null).sort().reverse();
  }

  /** Of a run's beginning and end alone, so that a thousand are listed at once; kept until its files change. */
  async #summary(id: string, nowMs: number): Promise<RunSummary | null> {
    const path = join(this.folder, id);
    const events = join(path, 'events.jsonl');
    const [facts, settings] = await Promise.all([stat(events).catch(() => null), stat(join(path, 'run.yaml')).catch(() => null)]);
    if (settings === null) return null;
    const stamp = `${facts?.mtimeMs} ${facts?.size} ${settings.mtimeMs}`;
    let known = this.#summaries.get(id);
    if (known?.stamp !== stamp) {
      known = { stamp, summary: await summarise(id, path, facts?.mtimeMs ?? settings.mtimeMs) };
      this.#summaries.set(id, known);
    }
    const { summary } = known;
    return summary.state === 'running' && nowMs - summary.changedAtMs > SILENT_MS ? { ...summary, state: 'silent' } : summary;
  }
}

async function summarise(id: string, path: string, changedAtMs: number): Promise<RunSummary> {
  const [yaml, { first, last }, best] = await Promise.all([readYaml(path), readEnds(join(path, 'events.jsonl')), readFile(join(path, 'checkpoints', 'best.json'), 'utf8').catch(() => '')]);
  const config = flatten(yaml?.config ?? {});
  const start = first.find((fact) => fact.type === 'start');
  const accuracy = bestJson.safeParse(parseJson(best)).data?.accuracy ?? null;
  return {
    id, changedAtMs,
    state: stateOf(last, start !== undefined),
    recipe: config['recipe.name'] ?? config['recipe'] ?? '', architecture: config['architecture'] ?? '', data: config['data'] ?? '',
    startedAtMs: start ? Date.parse(start.time) : null,
    step: Math.max(0, ...last.map((fact) => ('step' in fact ? fact.step : 0))),
    stepCount: start?.stepCount ?? null,
    bestAccuracy: accuracy,
  };
}

function stateOf(last: readonly Fact[], begun: boolean): RunSummary['state'] {
  const end = last.findLast((fact) => ['finish', 'fault', 'resume', 'step'].includes(fact.type));
  if (end?.type === 'finish') return end.reason === 'stopped early' || end.reason === 'interrupted' ? end.reason : 'done';
  if (end?.type === 'fault') return 'failed';
  return begun || end ? 'running' : 'empty';
}

/** The facts in the first and the last 64 KiB. */
async function readEnds(path: string): Promise<{ first: Fact[]; last: Fact[] }> {
  const file = await open(path, 'r').catch(() => null);
  if (file === null) return { first: [], last: [] };
  try {
    const { size } = await file.stat();
    const read = async (from: number) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(END_BYTES), 0, END_BYTES, from);
      return buffer.toString('utf8', 0, bytesRead).split('\n').map(readFact).filter((fact) => fact !== null);
    };
    const first = await read(0);
    return { first, last: size <= END_BYTES ? first : await read(size - END_BYTES) };
  } finally {
    await file.close();
  }
}

async function readYaml(path: string): Promise<RunYaml | null> {
  const text = await readFile(join(path, 'run.yaml'), 'utf8').catch(() => '');
  try {
    return runYaml.parse(parse(text));
  } catch {
    return null;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Nested settings as `augmentation.flip`, each as a text; lists of plain values in one. */
export function flatten(value: object, prefix = ''): Record<string, string> {
  return Object.fromEntries(Object.entries(value).flatMap(([key, entry]: [string, unknown]): [string, string][] => {
    const plainList = Array.isArray(entry) && entry.every((item) => typeof item !== 'object' || item === null);
    if (typeof entry === 'object' && entry !== null && !plainList) return Object.entries(flatten(entry, `${prefix}${key}.`));
    return [[`${prefix}${key}`, plainList ? entry.map(String).join(', ') : String(entry)]];
  }));
}
