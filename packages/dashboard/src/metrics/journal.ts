import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import type { Labels } from './exposition.js';
import type { History, HistoryLimits } from './history.js';

/**
 * Scrapes on the disk, so that the last hours outlive the dashboard: files to which lines are added, one an hour at most, the oldest
 * deleted above the bounds. A line has only what changed since the target's scrape before; each file says everything anew, so that any
 * of them can go. A line that a crash cut off, or that is damaged, is passed over.
 */
const SERIES = z.tuple([z.literal('series'), z.number().int(), z.string(), z.record(z.string(), z.string())]);
/** Target, ms, then numbers of series and their values by turns, then numbers of series that ended. */
const SCRAPE = z.tuple([z.literal('scrape'), z.string(), z.number(), z.array(z.union([z.number(), z.enum(['NaN', '+Inf', '-Inf'])])), z.array(z.number().int())]);
const LINE = z.union([SERIES, SCRAPE]);

const SEGMENT = /^scrapes-(\d+)\.jsonl$/;
const SEGMENT_MS = 3_600_000;

interface Segment {
  file: FileHandle;
  startedMs: number;
  bytes: number;
  /** By id in the history, the number in this file. */
  numbers: Map<number, number>;
  /** What a target's series were at its last scrape. */
  state: Map<string, Map<number, number>>;
}

export class Journal implements AsyncDisposable {
  #segment: Segment | null = null;
  #writing: Promise<void> = Promise.resolve();
  #failure: string | null = null;

  private constructor(private readonly folder: string, private readonly limits: HistoryLimits) {}

  /** Opens a folder, which is made if need be, and fills the history from what it has. @throws what the file system says */
  static async open(folder: string, limits: HistoryLimits, history: History, nowMs: number): Promise<Journal> {
    await mkdir(folder, { recursive: true });
    const journal = new Journal(folder, limits);
    await journal.#prune(nowMs);
    for (const name of await journal.#names()) await replay(join(folder, name), history, nowMs - limits.retentionMs);
    return journal;
  }

  /** What went wrong with the disk; null while all is well. After a failure nothing more is written. */
  get failure(): string | null {
    return this.#failure;
  }

  /** Adds a scrape; lines are written one after the other. Never rejects: see `failure`. */
  write(target: string, timeMs: number, history: History, ids: readonly number[], values: readonly number[]): Promise<void> {
    const labels = ids.map((id) => history.labelsOf(id)!);
    return (this.#writing = this.#writing.then(async () => {
      if (this.#failure !== null) return;
      try {
        const segment = await this.#segmentAt(timeMs);
        const text = linesOf(segment, target, timeMs, ids, values, labels);
        await segment.file.write(text);
        segment.bytes += Buffer.byteLength(text);
      } catch (error) {
        this.#failure = `Scrapes are no longer kept on the disk: ${error instanceof Error ? error.message : String(error)}.`;
      }
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
    await this.#segment?.file.close();
  }

  async #segmentAt(timeMs: number): Promise<Segment> {
    const current = this.#segment;
    // A quarter of the bound a file: deleting the oldest leaves most of the rest.
    if (current && timeMs - current.startedMs < SEGMENT_MS && current.bytes < this.limits.maxBytes / 4) return current;
    await current?.file.close();
    this.#segment = null;
    await this.#prune(timeMs);
    const file = await open(join(this.folder, `scrapes-${timeMs}.jsonl`), 'a');
    return (this.#segment = { file, startedMs: timeMs, bytes: 0, numbers: new Map(), state: new Map() });
  }

  async #names(): Promise<string[]> {
    const started = (name: string) => Number(SEGMENT.exec(name)?.[1]);
    return (await readdir(this.folder)).filter((name) => SEGMENT.test(name)).sort((a, b) => started(a) - started(b));
  }

  /** Deletes what is too old, and the oldest until there is room for one more file. */
  async #prune(nowMs: number): Promise<void> {
    const names = await this.#names();
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(this.folder, name))).size));
    let total = sizes.reduce((sum, size) => sum + size, 0);
    for (const [i, name] of names.entries()) {
      const old = Number(SEGMENT.exec(name)![1]) + SEGMENT_MS < nowMs - this.limits.retentionMs;
      if (!old && total <= (this.limits.maxBytes * 3) / 4) break;
      await unlink(join(this.folder, name));
      total -= sizes[i]!;
    }
  }
}

function linesOf(segment: Segment, target: string, timeMs: number, ids: readonly number[], values: readonly number[], labels: readonly Labels[]): string {
  const before = segment.state.get(target) ?? new Map<number, number>();
  const after = new Map<number, number>();
  const changes: (number | string)[] = [];
  let text = '';
  for (const [i, id] of ids.entries()) {
    let number = segment.numbers.get(id);
    if (number === undefined) {
      number = segment.numbers.size;
      segment.numbers.set(id, number);
      text += `${JSON.stringify(['series', number, target, labels[i]])}\n`;
    }
    after.set(number, values[i]!);
    if (!before.has(number) || !Object.is(before.get(number), values[i])) changes.push(number, encode(values[i]!));
  }
  const ended = [...before.keys()].filter((number) => !after.has(number));
  segment.state.set(target, after);
  return `${text}${JSON.stringify(['scrape', target, timeMs, changes, ended])}\n`;
}

const encode = (value: number): number | string => (Number.isFinite(value) ? value : Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf');
const decode = (value: number | string): number => (typeof value === 'number' ? value : value === 'NaN' ? Number.NaN : value === '+Inf' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY);

async function replay(path: string, history: History, fromMs: number): Promise<void> {
  const series = new Map<number, Labels>();
  const state = new Map<string, Map<number, number>>();
  for await (const text of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Number.POSITIVE_INFINITY })) {
    const line = readLine(text);
    if (line === null) continue;
    if (line[0] === 'series') {
      series.set(line[1], line[3]);
      continue;
    }
    const [, target, timeMs, changes, ended] = line;
    const values = state.get(target) ?? new Map<number, number>();
    state.set(target, values);
    for (let i = 0; i + 1 < changes.length; i += 2) values.set(Number(changes[i]), decode(changes[i + 1]!));
    for (const number of ended) values.delete(number);
    if (timeMs < fromMs) continue;
    const known = [...values].filter(([number]) => series.has(number));
    history.append(target, timeMs, known.map(([number]) => history.idOf(target, series.get(number)!)), known.map(([, value]) => value));
  }
}

function readLine(text: string): z.infer<typeof LINE> | null {
  try {
    return LINE.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
