import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { axisRange } from './dots.js';
import { renderExperimentsReport } from './experiments-report.js';
import { experimentsTable, markdownTable } from './experiments-table.js';
import { meanInterval } from './interval.js';
import type { ExperimentRow, ExperimentsRecord } from './records.js';
import { loads, nestingFaults, visibleText } from './testing/read-page.js';
import { trickFindings } from './tricks.js';

const rows: ExperimentRow[] = [
  ['feature-extractor', [0.9, 0.91, 0.92]],
  ['feature-extractor-bn-eval', [0.95, 0.962, 0.969]],
  ['batch-norm-only', [0.89, 0.92, 0.93]],
  ['discriminative', [0.85, 0.872, 0.878]],
  ['discriminative-bn-eval', [0.96, 0.962, 0.979]],
  ['deep-head', [0.86, 0.882, 0.888]],
].map(([recipe, accuracies]) => ({ recipe: recipe as string, accuracies: accuracies as number[], seconds: [60, 61, 59] }));

const record = (changes: Partial<ExperimentsRecord> = {}): ExperimentsRecord => ({
  title: 'Six recipes on insects', architecture: 'resnet50', dataset: 'insects', epochs: 4, batchSize: 16, imageSize: 224, precision: 'bfloat16', rows,
  command: 'npx chameleon experiments --data insects --seeds 3', machine: { cores: '2' }, versions: { chameleon: '0.1.0' }, ...changes,
});

const random: ExperimentRow = { recipe: 'feature-extractor-bn-eval', weights: 'random', accuracies: [0.5, 0.56, 0.53], seconds: [60, 60, 60] };
const single = rows.map((row) => ({ ...row, accuracies: row.accuracies.slice(0, 1) }));

describe('the report of the experiments', () => {
  it('is one well-formed page that loads nothing and runs nothing', async () => {
    const page = await renderExperimentsReport(record({ rows: [...rows, random] }));
    expect(nestingFaults(page)).toEqual([]);
    expect(loads(page)).toEqual([]);
    expect(page).not.toMatch(/https?:|NaN|undefined|Infinity/);
  });

  it("has each recipe's mean, interval, seeds and the article's number", async () => {
    const text = visibleText(await renderExperimentsReport(record()));
    expect(text).toContain('feature-extractor 0.9100 ± 0.0248 0.900 0.910 0.920 0.983648 1 min 00 s');
    expect(text).toContain('levels are not comparable. The order of the recipes is.');
    expect(text).toContain('npx chameleon experiments --data insects --seeds 3');
  });

  it("draws each seed's dot and each interval, for wide and narrow pages", async () => {
    const page = await renderExperimentsReport(record());
    const drawings = [...page.matchAll(/<svg [\s\S]*?<\/svg>/g)].map(([svg]) => svg);
    expect(drawings).toHaveLength(4);
    const dots = (svg: string) => svg.match(/fill="var\(--valid\)"/g)!.length;
    expect(drawings.map(dots)).toEqual([18, 18, 18, 18]);
    for (const svg of drawings) expect(svg).toContain('discriminative-bn-eval');
  });

  it('says of each trick in a sentence what it is worth', async () => {
    const text = visibleText(await renderExperimentsReport(record({ rows: [...rows, random] })));
    expect(text).toContain('Pretrained body feature-extractor-bn-eval − feature-extractor-bn-eval, from random weights +43.03 ± 6.25 Better: the whole interval, +36.79 to +49.28 points, lies above zero.');
    expect(text).toMatch(/4 Discriminative learning rates discriminative − batch-norm-only −4\.67 ± 1\.52 Worse: the whole interval, −6\.18 to −3\.15 points, lies below zero\./);
    expect(text).toMatch(/3 Training BatchNorm alone .* points, holds zero: this data can’t tell\./);
    expect(text).toContain('6, 7 Concatenated pooling and a deeper head, which the recipe has together deep-head − discriminative +1.00 ± 0.00 Every seed gives the same difference');
    expect(text).toContain('4 of 7 comparisons of a recipe with a trick and one without come out clearly: 3 better, 1 worse.');
  });

  it('says that a single seed tells nothing', async () => {
    const text = visibleText(await renderExperimentsReport(record({ rows: single })));
    expect(text).toContain('One seed has no interval: nothing can be told.');
    expect(text).toContain('0 of 6 comparisons');
    expect(text).not.toContain('Better');
  });

  it('escapes names, and takes recipes of any name and rows of any length', async () => {
    const odd = [{ recipe: '<b>mine</b>', accuracies: [0.5, NaN], seconds: [] }, { recipe: 'empty', accuracies: [], seconds: [] }];
    const page = await renderExperimentsReport(record({ rows: odd, title: '<i>', command: 'x < y' }));
    expect(page).not.toMatch(/<b>mine|<i>|NaN/);
    expect(nestingFaults(page)).toEqual([]);
    expect(visibleText(page)).toContain('These rows hold no pair that a trick could be read from.');
  });

  it('without a row says so', async () => {
    expect(visibleText(await renderExperimentsReport(record({ rows: [] })))).toContain('No recipe was trained to its end.');
  });
});

describe('what each trick is worth', () => {
  it('covers the seven tricks, measured or not', () => {
    expect([...new Set(trickFindings(rows).flatMap(({ tricks }) => tricks))]).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(trickFindings([]).every(({ verdict }) => verdict === 'not measured')).toBe(true);
    expect(trickFindings(rows)[0]).toMatchObject({ tricks: [1], verdict: 'not measured' });
  });

  it('compares each row from random weights with the pretrained row of its recipe, else with the feature extractor', () => {
    const scratch: ExperimentRow = { ...random, recipe: 'from-scratch' };
    const [same, other] = trickFindings([...rows, random, scratch]);
    expect(same).toMatchObject({ after: 'feature-extractor-bn-eval', before: 'feature-extractor-bn-eval, from random weights', verdict: 'better' });
    expect(other).toMatchObject({ after: 'feature-extractor', before: 'from-scratch, from random weights', verdict: 'better' });
  });

  it('is decided by whether the interval holds zero', () => {
    const accuracies = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(accuracies, accuracies, (after, before) => {
        const [finding] = trickFindings([{ recipe: 'feature-extractor-bn-eval', accuracies: after, seconds: [] }, { recipe: 'feature-extractor', accuracies: before, seconds: [] }]).slice(1);
        const { low, high } = finding!.difference!;
        expect(finding!.differences).toHaveLength(Math.min(after.length, before.length));
        if (finding!.verdict === 'better') expect(low).toBeGreaterThan(0);
        if (finding!.verdict === 'worse') expect(high).toBeLessThan(0);
        if (finding!.verdict === 'undecided') expect(low <= 1e-9 && high >= -1e-9).toBe(true);
      }),
    );
  });
});

describe('the table as text', () => {
  it('has a header and a row for each recipe', () => {
    const table = experimentsTable(record({ rows: [...rows, random] }));
    expect(table[0]).toEqual(['recipe', 'mean ± 95 %', 'each seed', 'the article']);
    expect(table[1]).toEqual(['feature-extractor', '0.9100 ± 0.0248', '0.900 0.910 0.920', '0.983648']);
    expect(table.at(-1)).toEqual(['feature-extractor-bn-eval, from random weights', '0.5300 ± 0.0745', '0.500 0.560 0.530', '–']);
  });

  it('gives a single seed no interval, and an empty row a dash', () => {
    const table = experimentsTable(record({ rows: [single[0]!, { recipe: 'mine', accuracies: [], seconds: [] }] }));
    expect(table.slice(1)).toEqual([['feature-extractor', '0.9000', '0.900', '0.983648'], ['mine', '–', '–', '–']]);
  });

  it('is a Markdown table whose cells can’t break it', () => {
    const lines = markdownTable(record({ rows: [rows[0]!, { recipe: 'a|b\nc', accuracies: [0.5], seconds: [1] }] })).split('\n');
    expect(lines).toEqual([
      '| recipe | mean ± 95 % | each seed | the article |',
      '| --- | ---: | --- | ---: |',
      '| feature-extractor | 0.9100 ± 0.0248 | 0.900 0.910 0.920 | 0.983648 |',
      '| a\\|b c | 0.5000 | 0.500 | – |',
      '',
    ]);
  });
});

describe('the axis of the dots', () => {
  it('holds every value and interval within its limits, and ends on whole steps or a limit', () => {
    const values = fc.array(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(values, (lists) => {
        const { min, max, interval } = axisRange({ rows: lists.map((list) => ({ name: 'x', values: list, interval: meanInterval(list) })), limits: [0, 1] });
        expect(min).toBeGreaterThanOrEqual(0);
        expect(max).toBeLessThanOrEqual(1);
        expect(max).toBeGreaterThan(min);
        expect(lists.flat().every((value) => value >= min - 1e-12 && value <= max + 1e-12)).toBe(true);
        for (const end of [min, max]) expect(Math.abs(end / interval - Math.round(end / interval))).toBeLessThan(1e-6);
      }),
    );
  });

  it('of nothing is the limits', () => {
    expect(axisRange({ rows: [], limits: [-1, 1] })).toMatchObject({ min: -1, max: 1 });
  });
});
