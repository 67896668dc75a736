import { appendFile, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { History, type HistoryLimits } from './history.js';
import { Journal } from './journal.js';

const WIDE: HistoryLimits = { retentionMs: 1e12, maxBytes: 1e9 };
const folders: string[] = [];
const temporaryFolder = async () => {
  const path = await mkdtemp(join(tmpdir(), 'chameleon-history-'));
  folders.push(path);
  return path;
};
afterEach(() => Promise.all(folders.splice(0).map((path) => rm(path, { recursive: true, force: true }))));

/** Scrapes of one target: at each, some of the series `s0` to `s3` with a value. */
const scrapes = fc.array(fc.array(fc.option(fc.oneof(fc.constantFrom(0, 1, Number.NaN, Number.POSITIVE_INFINITY), fc.double())), { minLength: 4, maxLength: 4 }), { maxLength: 400 });

function scrape(history: History, timeMs: number, row: readonly (number | null)[], target = 'a'): { ids: number[]; values: number[] } {
  const there = row.flatMap((value, i) => (value === null ? [] : [{ id: history.idOf(target, { __name__: 'm', series: `s${i}`, instance: target }), value }]));
  const taken = { ids: there.map(({ id }) => id), values: there.map(({ value }) => value) };
  history.append(target, timeMs, taken.ids, taken.values);
  return taken;
}

/** What a series was at each of its scrapes, from its first on; 'gone' once where it ended. */
function read(history: History, series: string): (number | 'gone')[] {
  const [samples] = history.select('m', [{ label: 'series', op: '=', value: series }], -1, 1e12);
  return samples ? Array.from(samples.values, (value, i) => (samples.gone[i] === 1 ? 'gone' : value)) : [];
}

function expected(rows: readonly (readonly (number | null)[])[], i: number): (number | 'gone')[] {
  const all = rows.map((row) => row[i] ?? 'gone');
  return all.filter((value, at) => value !== 'gone' || (at > 0 && all[at - 1] !== 'gone'));
}

describe('the history', () => {
  it('gives back every sample that it was given, and where a series ended', () => {
    fc.assert(fc.property(scrapes, (rows) => {
      const history = new History(WIDE);
      for (const [at, row] of rows.entries()) scrape(history, at * 1000, row);
      for (let i = 0; i < 4; i++) expect(read(history, `s${i}`)).toEqual(expected(rows, i));
    }), { numRuns: 60 });
  });

  it('gives back the newest samples as they were when blocks are let go and their memory is used again', () => {
    fc.assert(fc.property(fc.array(fc.array(fc.option(fc.double()), { minLength: 4, maxLength: 4 }), { minLength: 700, maxLength: 700 }), (rows) => {
      const history = new History({ retentionMs: 240_000, maxBytes: 1e9 });
      for (const [at, row] of rows.entries()) scrape(history, at * 1000, row);
      for (let i = 0; i < 4; i++) {
        const whole = expected(rows, i), kept = read(history, `s${i}`);
        expect(kept.length).toBeLessThan(500);
        expect(kept.slice(-200)).toEqual(whole.slice(-kept.length).slice(-200));
      }
    }), { numRuns: 5 });
  });

  it('selects by labels and by time, the beginning left out', () => {
    const history = new History(WIDE);
    for (let at = 0; at < 10; at++) scrape(history, at, [at, 2 * at]);
    const samples = history.select('m', [{ label: 'series', op: '=~', value: 's[1-9]' }, { label: 'instance', op: '!=', value: 'b' }], 3, 5);
    expect(samples).toHaveLength(1);
    expect([...samples[0]!.times]).toEqual([4, 5]);
    expect([...samples[0]!.values]).toEqual([8, 10]);
    expect(history.select('m', [{ label: 'series', op: '!~', value: 's.' }], 0, 9)).toEqual([]);
    expect(history.select('m', [{ label: 'series', op: '=~', value: 's' }], 0, 9)).toEqual([]);
    expect(history.select('none', [], 0, 9)).toEqual([]);
  });

  it('leaves out a scrape that is not later than the last', () => {
    const history = new History(WIDE);
    scrape(history, 5, [1]);
    scrape(history, 5, [2]);
    scrape(history, 4, [3]);
    expect(read(history, 's0')).toEqual([1]);
  });

  it('lets go of what is too old, series and all', () => {
    const history = new History({ retentionMs: 1000, maxBytes: 1e9 });
    for (let at = 0; at < 120; at++) scrape(history, at, [1, at]);
    for (let at = 120; at < 240; at++) scrape(history, at, [1]);
    expect(history.seriesCount).toBe(2);
    scrape(history, 1200, [1]);
    expect(history.seriesCount).toBe(1);
    expect(read(history, 's0')).toHaveLength(121);
  });

  it('stays within its bytes, whatever it is given, and counts them right', () => {
    const maxBytes = 40_000;
    const history = new History({ retentionMs: 1e12, maxBytes });
    for (let at = 0; at < 3000; at++) {
      scrape(history, at, [at, 1, at % 3, null], 'a');
      scrape(history, at, [at, at + 0.5], 'b');
      expect(history.bytes).toBeLessThanOrEqual(maxBytes);
    }
    expect(read(history, 's0').length).toBeGreaterThan(500);
    expect(read(history, 's0').at(-1)).toBe(2999);
  });

  it('keeps a series that does not change in a fraction of the room', () => {
    const same = new History(WIDE), changing = new History(WIDE);
    for (let at = 0; at < 1200; at++) {
      scrape(same, at, [7, 7, 7, 7]);
      scrape(changing, at, [at, at, at, at]);
    }
    expect(same.bytes).toBeLessThan(changing.bytes / 3);
  });
});

describe('the journal', () => {
  it('gives the next dashboard what this one saw', async () => {
    await fc.assert(fc.asyncProperty(scrapes, async (rows) => {
      const folder = await temporaryFolder();
      const first = new History(WIDE);
      {
        await using journal = await Journal.open(folder, WIDE, first, 0);
        for (const [at, row] of rows.entries()) {
          const { ids, values } = scrape(first, 1 + at * 30_000, row);
          void journal.write('a', 1 + at * 30_000, first, ids, values);
        }
      }
      const second = new History(WIDE);
      await using _ = await Journal.open(folder, WIDE, second, 0);
      for (let i = 0; i < 4; i++) expect(read(second, `s${i}`)).toEqual(read(first, `s${i}`).map((value) => (Object.is(value, -0) ? 0 : value)));
    }), { numRuns: 15 });
  });

  it('passes over a damaged line and one that was cut off', async () => {
    const folder = await temporaryFolder();
    const history = new History(WIDE);
    {
      await using journal = await Journal.open(folder, WIDE, history, 0);
      for (let at = 1; at < 4; at++) {
        const { ids, values } = scrape(history, at, [at]);
        await journal.write('a', at, history, ids, values);
      }
    }
    const [name] = await readdir(folder);
    await appendFile(join(folder, name!), '{"not":"a line"}\n["scrape","a",9,[0,"many"],[]]\n["scrape","a",4,[0,4],[]]\n["scrape","a",5,[0,');
    const next = new History(WIDE);
    await using _ = await Journal.open(folder, WIDE, next, 0);
    expect(read(next, 's0')).toEqual([1, 2, 3, 4]);
  });

  it('keeps its files within the bound and deletes those of before', async () => {
    const folder = await temporaryFolder();
    const limits = { retentionMs: 1e12, maxBytes: 20_000 };
    const history = new History(WIDE);
    await using journal = await Journal.open(folder, limits, history, 0);
    for (let at = 1; at < 2000; at++) {
      const { ids, values } = scrape(history, at, [at / 7, at / 3]);
      await journal.write('a', at, history, ids, values);
    }
    const sizes = await Promise.all((await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(limits.maxBytes);
    expect(sizes.length).toBeGreaterThan(2);
    const old = await Journal.open(folder, { retentionMs: 1000, maxBytes: 20_000 }, new History(WIDE), 1e10);
    await old[Symbol.asyncDispose]();
    expect(await readdir(folder)).toEqual([]);
  });

  it('says what failed when the disk does, and goes on without it', async () => {
    const folder = await temporaryFolder();
    const history = new History(WIDE);
    await using journal = await Journal.open(folder, WIDE, history, 0);
    await rm(folder, { recursive: true });
    const { ids, values } = scrape(history, 1, [1]);
    await journal.write('a', 1, history, ids, values);
    expect(journal.failure).toMatch(/no longer kept on the disk: ENOENT/);
  });
});
