import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { NewEvent } from './events.js';
import { renderRunReport } from './report/run-report.js';
import { FILES, RunDirectory } from './run-directory.js';
import { readRunRecord } from './run-record.js';
import { smallConfig, temporaryFolder } from './testing/small-run.js';

const START: NewEvent = { type: 'start', trainCount: 8, validCount: 3, classes: ['plain', 'stripes'], stepCount: 4, backend: 'libtorch' };
const step = (index: number, loss = 0.5): NewEvent => ({ type: 'step', step: index, epoch: 0, loss, correct: 4, pictures: 8, learningRates: { head: 0.001 }, dataSeconds: 0, computeSeconds: 0.1 });
const finish = (reason: 'done' | 'stopped early' | 'interrupted'): NewEvent => ({ type: 'finish', step: 2, validAccuracy: 0.5, seconds: 1, reason });
const fault = (message: string): NewEvent => ({ type: 'fault', message });
const resume: NewEvent = { type: 'resume', step: 1, epoch: 0 };

/** What is read of a run's directory that holds these facts and predictions. */
async function recordOf(folder: string, events: readonly NewEvent[], predictions: readonly object[] = []) {
  const path = join(folder, 'run');
  {
    await using run = await RunDirectory.create(path, smallConfig(join(folder, 'data')), { version: '0', backend: 'libtorch', machine: {} });
    for (const event of [START, ...events]) await run.append(event);
  }
  await writeFile(join(path, FILES.validation), predictions.map((prediction) => `${JSON.stringify(prediction)}\n`).join(''));
  return readRunRecord(path);
}

describe('the record of a run', () => {
  it.each<[string, NewEvent[], object]>([
    ['is done', [step(1), step(2), finish('done')], { outcome: 'done' }],
    ['stopped early', [step(1), finish('stopped early')], { outcome: 'stopped early' }],
    ['was interrupted', [step(1), finish('interrupted')], { outcome: 'interrupted' }],
    ['failed, and of what', [step(1), fault('an older fault'), resume, step(2), fault('the disk is full')], { outcome: 'failed', fault: 'the disk is full' }],
    ['was resumed after a fault and is done', [step(1), fault('torn'), resume, step(2), finish('done')], { outcome: 'done' }],
    ['was interrupted and resumed and failed then', [step(1), finish('interrupted'), resume, fault('no')], { outcome: 'failed', fault: 'no' }],
  ])('says that it %s', async (_, events, end) => {
    await using folder = await temporaryFolder();
    const { outcome, fault: message } = await recordOf(folder.path, events);
    expect({ outcome, ...(message === undefined ? {} : { fault: message }) }).toEqual(end);
  });

  it('of a run that was killed says nothing of an end, and the page calls it interrupted', async () => {
    await using folder = await temporaryFolder();
    const record = await recordOf(folder.path, [step(1)]);
    expect(record).not.toHaveProperty('outcome');
    expect(await renderRunReport(record)).toContain('The run was interrupted at step 1');
  });

  it('has the surest mistakes first, with a picture where the file can still be decoded', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, 'data', 'plain'), { recursive: true });
    await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } }).png().toFile(join(folder.path, 'data', 'plain', '0.png'));
    await writeFile(join(folder.path, 'data', 'plain', '1.png'), 'no picture any more');
    const { mistakes } = await recordOf(folder.path, [finish('done')], [
      { path: 'plain/0.png', label: 0, probabilities: [0.4, 0.6] },
      { path: 'plain/1.png', label: 0, probabilities: [0.1, 0.9] },
      { path: 'plain/2.png', label: 0, probabilities: [0.2, 0.8] },
      { path: 'plain/3.png', label: 0, probabilities: [0.9, 0.1] },
    ]);
    expect(mistakes.map(({ path, predicted, probability, thumbnail }) => [path, predicted, probability, thumbnail.slice(0, 23)])).toEqual([['plain/1.png', 1, 0.9, ''], ['plain/2.png', 1, 0.8, ''], ['plain/0.png', 1, 0.6, 'data:image/jpeg;base64,']]);
  });

  it('of a model whose probabilities are not numbers has no mistake that it was sure of, and the page counts them', async () => {
    await using folder = await temporaryFolder();
    const record = await recordOf(folder.path, [step(1, Number.NaN), fault('diverged')], [0, 1, 0].map((label, i) => ({ path: `${i}.png`, label, probabilities: [null, null] })));
    expect(record.mistakes).toEqual([]);
    const page = await renderRunReport(record);
    expect(page).toContain('3 pictures went wrong, but none is kept in this record.');
    expect(page).toContain('The run diverged');
    expect(page).not.toMatch(/NaN|undefined/);
  });
});
