import type { Labels } from './exposition.js';

/**
 * The last hours of many time series in memory, within bounds. A target's series are sampled together, so they share one row of
 * times, and a series that doesn't change over a block of 120 scrapes costs one number (most buckets of histograms don't): a
 * target's hour takes about a third of what a pair of numbers a sample would. What a scrape no longer names is gone from then on,
 * as Prometheus has it by its staleness markers: never a zero, never the last value for ever.
 */
export interface HistoryLimits {
  /** Older samples are let go. */
  retentionMs: number;
  /** Above it, the oldest blocks of all targets are let go. */
  maxBytes: number;
}

export interface Matcher {
  label: string;
  /** `=~` and `!~` take a regular expression that has to fit the whole value, as in PromQL. */
  op: '=' | '!=' | '=~' | '!~';
  value: string;
}

/** A series' samples in a span of time, in order. Where `gone` is 1, the series had ended by then and `values` says nothing. */
export interface Samples {
  labels: Labels;
  /** ms since 1970 */
  times: Float64Array;
  values: Float64Array;
  gone: Uint8Array;
}

const BLOCK = 120;
const COLUMN_BYTES = 120;
const FULL_COLUMN_BYTES = COLUMN_BYTES + 8 * BLOCK + BLOCK;

/** From the block's first scrape on, `count` times the same. */
interface ConstantColumn {
  value: number;
  count: number;
}
interface FullColumn {
  values: Float64Array;
  /** 1 where the scrape had the series. */
  there: Uint8Array;
}
type Column = ConstantColumn | FullColumn;

interface Block {
  times: Float64Array;
  count: number;
  columns: Map<number, Column>;
  bytes: number;
}

interface Series {
  id: number;
  key: string;
  labels: Labels;
  target: string;
  /** Blocks that have it. */
  blockCount: number;
}

export class History {
  readonly #targets = new Map<string, Block[]>();
  readonly #series = new Map<number, Series>();
  readonly #byKey = new Map<string, Series>();
  readonly #byMetric = new Map<string, Set<number>>();
  /** Columns of blocks that were let go, for the next ones: allocating them anew all day leaves the process's memory in pieces. */
  readonly #spare: FullColumn[] = [];
  #nextId = 0;
  #bytes = 0;

  constructor(private readonly limits: HistoryLimits) {}

  get bytes(): number {
    return this.#bytes;
  }

  get seriesCount(): number {
    return this.#series.size;
  }

  /** The number by which `append` knows a series of a target. It stays valid while `labelsOf` knows it. */
  idOf(target: string, labels: Labels): number {
    const key = `${target}\n${labelKey(labels)}`;
    const known = this.#byKey.get(key);
    if (known) return known.id;
    const series = { id: this.#nextId++, key, labels, target, blockCount: 0 };
    this.#byKey.set(key, series);
    this.#series.set(series.id, series);
    const metric = labels['__name__'] ?? '';
    this.#byMetric.set(metric, (this.#byMetric.get(metric) ?? new Set()).add(series.id));
    return series.id;
  }

  labelsOf(id: number): Labels | undefined {
    return this.#series.get(id)?.labels;
  }

  /** Takes a scrape in: all that the target has at that time. One that isn't later than the target's last is left out. */
  append(target: string, timeMs: number, ids: readonly number[], values: readonly number[]): void {
    const blocks = this.#targets.get(target) ?? [];
    this.#targets.set(target, blocks);
    const last = blocks.at(-1);
    if (last && last.times[last.count - 1]! >= timeMs) return;
    const block = last && last.count < BLOCK ? last : this.#newBlock(blocks);
    const at = block.count++;
    block.times[at] = timeMs;
    for (const [i, id] of ids.entries()) this.#put(block, at, id, values[i]!);
    this.#enforce(timeMs);
  }

  /** The series of a metric that all matchers fit, each with its samples in (fromMs, toMs]. */
  select(metric: string, matchers: readonly Matcher[], fromMs: number, toMs: number): Samples[] {
    const fits = compile(matchers);
    return [...(this.#byMetric.get(metric) ?? [])].flatMap((id) => {
      const series = this.#series.get(id)!;
      if (!fits(series.labels)) return [];
      const samples = this.#read(series, fromMs, toMs);
      return samples.times.length === 0 ? [] : [samples];
    });
  }

  #newBlock(blocks: Block[]): Block {
    const block = { times: new Float64Array(BLOCK), count: 0, columns: new Map<number, Column>(), bytes: 8 * BLOCK };
    blocks.push(block);
    this.#bytes += block.bytes;
    return block;
  }

  #put(block: Block, at: number, id: number, value: number): void {
    const column = block.columns.get(id);
    if (column && 'values' in column) {
      column.values[at] = value;
      column.there[at] = 1;
      return;
    }
    if (column && column.count === at && Object.is(column.value, value)) {
      column.count++;
      return;
    }
    if (!column) this.#series.get(id)!.blockCount++;
    const next: Column = !column && at === 0 ? { value, count: 1 } : fill(this.#spare.pop() ?? emptyColumn(), column, at, value);
    block.columns.set(id, next);
    const grown = (column ? 0 : COLUMN_BYTES) + ('values' in next ? FULL_COLUMN_BYTES - COLUMN_BYTES : 0);
    block.bytes += grown;
    this.#bytes += grown;
  }

  #read({ id, labels, target }: Series, fromMs: number, toMs: number): Samples {
    const parts = (this.#targets.get(target) ?? []).map((block) => ({ block, first: firstAfter(block, fromMs), end: firstAfter(block, toMs) })).filter(({ first, end }) => first < end);
    const room = parts.reduce((sum, { first, end }) => sum + end - first, 0);
    const times = new Float64Array(room), values = new Float64Array(room), gone = new Uint8Array(room);
    let count = 0, was = false;
    for (const { block, first, end } of parts) {
      const column = block.columns.get(id);
      const until = column === undefined ? 0 : 'values' in column ? end : column.count;
      for (let i = first; i < end; i++) {
        const there = i < until && (!('values' in column!) || column.there[i] === 1);
        // One end is enough; what comes before the first sample is nothing.
        if (!there && !was) continue;
        was = there;
        times[count] = block.times[i]!;
        values[count] = there ? ('values' in column! ? column.values[i]! : (column as ConstantColumn).value) : Number.NaN;
        gone[count++] = there ? 0 : 1;
      }
    }
    return { labels, times: times.subarray(0, count), values: values.subarray(0, count), gone: gone.subarray(0, count) };
  }

  #enforce(nowMs: number): void {
    for (const [target, blocks] of this.#targets) {
      while (blocks.length > 0 && blocks[0]!.times[blocks[0]!.count - 1]! < nowMs - this.limits.retentionMs) this.#drop(target);
    }
    while (this.#bytes > this.limits.maxBytes) {
      const oldest = this.#oldestTarget();
      if (oldest === null) return;
      this.#drop(oldest);
    }
  }

  /** Whose first block is the oldest; a target's only block stays. */
  #oldestTarget(): string | null {
    let found: string | null = null, earliest = Number.POSITIVE_INFINITY;
    for (const [target, blocks] of this.#targets) {
      if (blocks.length > 1 && blocks[0]!.times[0]! < earliest) [found, earliest] = [target, blocks[0]!.times[0]!];
    }
    return found;
  }

  #drop(target: string): void {
    const blocks = this.#targets.get(target)!;
    const block = blocks.shift()!;
    this.#bytes -= block.bytes;
    for (const [id, column] of block.columns) {
      if ('values' in column && this.#spare.length < this.limits.maxBytes / 8 / FULL_COLUMN_BYTES) this.#spare.push(column);
      this.#release(id);
    }
    if (blocks.length === 0) this.#targets.delete(target);
  }

  #release(id: number): void {
    const series = this.#series.get(id)!;
    if (--series.blockCount > 0) return;
    this.#series.delete(id);
    this.#byKey.delete(series.key);
    const metric = series.labels['__name__'] ?? '';
    const ids = this.#byMetric.get(metric)!;
    ids.delete(id);
    if (ids.size === 0) this.#byMetric.delete(metric);
  }
}

/** Where in a block the first scrape after a time is. */
function firstAfter({ times, count }: Block, timeMs: number): number {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle]! <= timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

const emptyColumn = (): FullColumn => ({ values: new Float64Array(BLOCK), there: new Uint8Array(BLOCK) });

/** A column as one that was the same until now, and has another value from here on; whatever it held. */
function fill(column: FullColumn, before: ConstantColumn | undefined, at: number, value: number): FullColumn {
  const { values, there } = column, count = before?.count ?? 0;
  values.fill(before?.value ?? 0, 0, count);
  there.fill(1, 0, count);
  there.fill(0, count);
  values[at] = value;
  there[at] = 1;
  return column;
}

/** Labels as one text, whatever their order. */
export function labelKey(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function compile(matchers: readonly Matcher[]): (labels: Labels) => boolean {
  const tests = matchers.map(({ label, op, value }) => {
    const whole = op === '=~' || op === '!~' ? new RegExp(`^(?:${value})$`, 's') : null;
    const wanted = op === '=' || op === '=~';
    return (labels: Labels) => {
      const given = labels[label] ?? '';
      return (whole ? whole.test(given) : given === value) === wanted;
    };
  });
  return (labels) => tests.every((test) => test(labels));
}
