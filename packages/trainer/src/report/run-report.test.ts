import { describe, expect, it } from 'vitest';
import type { EpochRow, Prediction, RunRecord } from './records.js';
import { renderRunReport } from './run-report.js';
import { predictedClass, summarise } from './run-summary.js';
import { loads, nestingFaults, visibleText } from './testing/read-page.js';

const PIXEL = 'data:image/png;base64,iVBORw0KGgo=';
const HOSTILE = `<script>alert("x")</script>&'`;

const epoch = (index: number, validAccuracy: number, changes: Partial<EpochRow> = {}): EpochRow => ({
  epoch: index, trainLoss: 0.4, trainAccuracy: 0.8, validLoss: 0.5, validAccuracy, seconds: 30, learningRates: { head: 1e-3 }, picturesPerSecond: 16, ...changes,
});

/** Picture `i` is of class `i % classCount`; each `missEvery`th is taken for the next class. */
function predictionsOf(classCount: number, pictureCount: number, missEvery: number): Prediction[] {
  return Array.from({ length: pictureCount }, (_, i) => {
    const label = i % classCount;
    const said = i % missEvery === 0 ? (label + 1) % classCount : label;
    return { path: `val/${label}/${i}.jpg`, label, probabilities: Array.from({ length: classCount }, (_, c) => (c === said ? 0.9 : 0.1 / (classCount - 1))) };
  });
}

const record = (changes: Partial<RunRecord> = {}): RunRecord => ({
  runId: '20261124-172611-batch-norm-only-3f2a', title: 'batch-norm-only on insects', recipe: 'batch-norm-only', architecture: 'resnet18', classes: ['ants', 'bees'],
  trainCount: 100, validCount: 40, config: { epochs: 2, learningRate: 1e-3, 'recipe.phases': [{ train: 'head' }], clipNorm: null }, machine: { cores: '2' }, versions: { chameleon: '0.1.0' },
  epochs: [epoch(0, 0.8), epoch(1, 0.9)], steps: Array.from({ length: 20 }, (_, i) => ({ step: i + 1, epoch: Math.floor(i / 10), loss: 1 / (i + 1) })),
  predictions: predictionsOf(2, 40, 10), mistakes: [{ path: 'val/0/0.jpg', label: 0, predicted: 1, probability: 0.9, thumbnail: PIXEL }], skipped: [],
  startedAt: '2026-11-24T17:26:11Z', finishedAt: '2026-11-24T17:27:15Z', ...changes,
});

const textOf = async (changes: Partial<RunRecord> = {}) => visibleText(await renderRunReport(record(changes)));

describe("a run's report", () => {
  it('is one well-formed page that loads nothing and runs nothing', async () => {
    const page = await renderRunReport(record());
    expect(page.startsWith('<!doctype html>')).toBe(true);
    expect(page).toContain(`<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">`);
    expect(nestingFaults(page)).toEqual([]);
    expect(loads(page)).toEqual([]);
    expect(page).not.toMatch(/https?:/);
    expect(page).toContain(`<img src="${PIXEL}" alt="ants, taken for bees">`);
  });

  it('is the same for the same record', async () => {
    expect(await renderRunReport(record())).toBe(await renderRunReport(record()));
  });

  it('leads with the accuracy, its interval and the conditions', async () => {
    const text = await textOf();
    expect(text).toContain('90.0 % validation accuracy : 36 of 40 pictures right. 95 % interval 76.9 % to 96.0 %. The model of epoch 2, the best one');
    for (const part of ['Architecture resnet18', '100 to learn from, 40 to judge by', 'Epochs 2 of 2', 'Began 24 Nov 2026, 17:26:11 UTC', 'Took 1 min 04 s']) expect(text).toContain(part);
  });

  it('draws loss, accuracy and learning rate', async () => {
    const page = await renderRunReport(record());
    expect([...page.matchAll(/<svg role="img" aria-label="([^"]+)"/g)].map(([, label]) => label)).toEqual([
      'Loss by epoch. After epoch 2: training 0.4000, validation 0.5000.',
      'Loss by epoch. After epoch 2: training 0.4000, validation 0.5000.',
      'Accuracy by epoch. After epoch 2: training 80.0 %, validation 90.0 %.',
      'Learning rate of head by epoch.',
    ]);
    expect(page.match(/var\(--train\)/g)!.length).toBeGreaterThan(5);
  });

  it('marks what was changed of the live run on every curve, with a number, and says what it was', async () => {
    const changes = [{ step: 5, epoch: 0, text: 'learning rate of head set to 0.0005' }, { step: 12, epoch: 1, text: 'everything learns' }];
    const page = await renderRunReport(record({ changes }));
    for (const [figure, count] of [['Loss', 2], ['Accuracy', 1], ['Learning rate', 1]] as const) {
      const drawings = [...page.matchAll(new RegExp(`<svg role="img" aria-label="${figure}[^]*?</svg>`, 'g'))];
      expect(drawings).toHaveLength(count);
      for (const [drawing] of drawings) expect(drawing.match(/stroke-dasharray="4,2"|stroke-dasharray="[^"]+"/g)).toHaveLength(2);
    }
    expect(visibleText(page)).toContain('1 after step 5: learning rate of head set to 0.0005 2 after step 12: everything learns');
    expect(visibleText(await renderRunReport(record({ epochs: [], changes })))).toContain('2 after step 12: everything learns');
  });

  it('counts each class against each, and gives its precision, recall and F1', async () => {
    const text = await textOf();
    expect(text).toContain('ants 16 80.0 % 4 20.0 % 20 bees 0 20 100.0 % 20');
    expect(text).toContain('ants 20 1.000 0.800 0.889 bees 20 0.833 1.000 0.909 Mean over the classes 0.917 0.900 0.899');
  });

  it("marks its row in the article's table, whose levels it calls not comparable", async () => {
    const page = await renderRunReport(record());
    expect(visibleText(page.match(/<tr class="marked">.*?<\/tr>/s)![0])).toContain('batch-norm-only this run 0.9909 0.9000');
    for (const accuracy of ['0.9836', '0.9877', '0.9909', '0.9937', '0.9915', '0.9928']) expect(page).toContain(accuracy);
    expect(visibleText(page)).toContain('levels are not comparable. The order of the recipes is.');
    expect(await textOf({ architecture: 'resnet34', trainCount: 12_720, validCount: 3180 })).toContain('If the photographs and the weights are too, levels can be compared');
  });

  it('puts a recipe of the user’s own below the article’s', async () => {
    expect(await textOf({ recipe: 'mine' })).toContain('mine this run not in it 0.9000 A recipe of your own.');
  });

  it('lists what was skipped, and says so when nothing was', async () => {
    expect(await textOf()).toContain('None: every file in the class folders was read.');
    expect(await textOf({ skipped: [{ path: 'train/a.jpg', reason: 'found: text' }] })).toContain('1 file could not be read and took no part in the run. File Why train/a.jpg found: text');
    const many = await renderRunReport(record({ skipped: Array.from({ length: 600 }, (_, i) => ({ path: `${i}.jpg`, reason: 'empty' })) }));
    expect(visibleText(many)).toContain('And 100 files more');
  });

  it('shows configuration, machine and versions', async () => {
    expect(await textOf()).toContain('Configuration Name Value epochs 2 learningRate 0.001 recipe.phases [{"train":"head"}] clipNorm none Machine Name Value cores 2 Versions Name Value chameleon 0.1.0');
  });
});

describe('what comes from files', () => {
  it('is text, whatever it holds', async () => {
    const page = await renderRunReport(record({
      classes: [HOSTILE, 'bees'], title: HOSTILE, runId: HOSTILE, recipe: HOSTILE, architecture: HOSTILE, fault: HOSTILE, outcome: 'failed',
      config: { [HOSTILE]: HOSTILE }, machine: { [HOSTILE]: HOSTILE }, skipped: [{ path: HOSTILE, reason: HOSTILE }], epochs: [epoch(0, 0.9, { learningRates: { [HOSTILE]: 1 } })],
      mistakes: [{ path: HOSTILE, label: 0, predicted: 1, probability: 0.9, thumbnail: PIXEL }],
    }));
    expect(page).not.toContain('<script');
    expect(nestingFaults(page)).toEqual([]);
    expect(loads(page)).toEqual([]);
    expect(visibleText(page).split(HOSTILE).length).toBeGreaterThan(12);
  });

  it.each(['http://example.org/a.png', `data:image/svg+xml;base64,AAAA`, `data:image/png;base64,AA"onerror="x`, ''])('is no picture unless the page holds it: %s', async (thumbnail) => {
    const page = await renderRunReport(record({ mistakes: [{ path: 'a.jpg', label: 0, predicted: 1, probability: 0.9, thumbnail }] }));
    expect(page).not.toContain('<img');
    expect(visibleText(page)).toContain('The picture is no longer there.');
  });
});

describe('a report of many classes', () => {
  const classes = Array.from({ length: 1000 }, (_, i) => `n${i}`);

  it('lists the worst and the most confused, folds the rest, and stays small', async () => {
    const page = await renderRunReport(record({ classes, predictions: predictionsOf(1000, 3000, 7), validCount: 3000 }));
    expect(page.length).toBeLessThan(600_000);
    expect(nestingFaults(page)).toEqual([]);
    expect(page).not.toContain('class="confusion');
    expect(visibleText(page)).toContain('These are the 20 pairs confused most often.');
    expect(visibleText(page)).toContain('These are the 20 classes with the lowest F1.');
    expect(page.split('All 1,000 classes')[1]!.split('</details>')[0]!.match(/<tr>/g)).toHaveLength(1 + 1000 + 1);
  });

  it.each([[2, true], [20, true], [21, false]])('has a matrix or a list: %i classes', async (classCount, matrix) => {
    const page = await renderRunReport(record({ classes: classes.slice(0, classCount), predictions: predictionsOf(classCount, 100, 5), validCount: 100 }));
    expect(page.includes('<table class="confusion')).toBe(matrix);
    expect(page.includes('Pairs of classes confused most often')).toBe(!matrix);
  });
});

describe('a run that went otherwise', () => {
  it('without a mistake says so', async () => {
    expect(await textOf({ predictions: predictionsOf(2, 40, 7).map((p) => ({ ...p, probabilities: p.label === 0 ? [1, 0] : [0, 1] })), mistakes: [] })).toContain('There are none: all 40 pictures were told right.');
  });

  it('interrupted in its first epoch has its steps alone', async () => {
    const page = await renderRunReport(record({ epochs: [], predictions: [], mistakes: [], finishedAt: '' }));
    const text = visibleText(page);
    expect(text).toContain('The run was interrupted at step 20, after 0 whole epochs of 2. --resume goes on from its last checkpoint.');
    expect(text).toContain('There is no validation accuracy: no picture was judged.');
    expect(page).toContain('aria-label="Training loss of 20 steps; the last is 0.0500."');
    expect(nestingFaults(page)).toEqual([]);
  });

  it('before its first step draws nothing', async () => {
    const page = await renderRunReport(record({ epochs: [], steps: [], predictions: [], mistakes: [], finishedAt: '' }));
    expect(page).not.toContain('<svg');
    expect(visibleText(page)).toContain('The run ended before its first step.');
  });

  it('diverged keeps its NaN out of the drawing and counts no answer as right', async () => {
    const nan = { trainLoss: NaN, trainAccuracy: NaN, validLoss: NaN, validAccuracy: NaN };
    const predictions = [...predictionsOf(2, 39, 50), { path: 'x.jpg', label: 1, probabilities: [NaN, NaN] }];
    const page = await renderRunReport(record({ epochs: [epoch(0, 0.8), epoch(1, NaN, nan)], steps: [{ step: 1, epoch: 0, loss: 0.5 }, { step: 2, epoch: 1, loss: NaN }], predictions, fault: 'Lower --learning-rate.' }));
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
    expect(visibleText(page)).toContain('The run diverged: its loss was no longer a number at step 2. A lower learning rate or a clipped gradient may help. Lower --learning-rate.');
    expect(visibleText(page)).toContain('no answer');
  });

  it('without a validation picture has no accuracy', async () => {
    const text = await textOf({ predictions: [], mistakes: [], validCount: 0, epochs: [epoch(0, NaN, { validLoss: NaN })] });
    expect(text).toContain('There is no validation accuracy: no picture was judged.');
    expect(text).toContain('No validation picture was judged, so no class has figures.');
  });
});

describe('a summary', () => {
  it('takes the greatest probability, the first among equals, and none of what is no number', () => {
    expect([predictedClass([0.2, 0.5, 0.3]), predictedClass([0.5, 0.5]), predictedClass([NaN, 0.1]), predictedClass([NaN]), predictedClass([])]).toEqual([1, 0, 1, -1, -1]);
  });

  it('names the last of the best epochs, and judges by it where there are no predictions', () => {
    const { bestEpoch, accuracy, lastAccuracy } = summarise(record({ predictions: [], epochs: [epoch(0, 0.9), epoch(1, 0.95), epoch(2, 0.95), epoch(3, 0.7)] }));
    expect(bestEpoch).toBe(2);
    expect(accuracy).toMatchObject({ correctCount: 38, count: 40 });
    expect(lastAccuracy).toBe(0.7);
  });

  it('works out how a run ended where nobody says it', () => {
    expect(summarise(record()).outcome).toBe('done');
    expect(summarise(record({ outcome: 'stopped early' })).outcome).toBe('stopped early');
    expect(summarise(record({ finishedAt: '' }))).toMatchObject({ outcome: 'interrupted', seconds: 60 });
    expect(summarise(record({ steps: [{ step: 1, epoch: 0, loss: Infinity }], outcome: 'failed' })).outcome).toBe('diverged');
  });
});
