import { join } from 'node:path';
import { UserError, findRecipe } from '@chameleon/core';
import { limitMemory, memory, resetPeak } from '@chameleon/tfjs-libtorch';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { explainOutOfMemory } from './out-of-memory.js';
import { drawSmallDataset, smallConfig, startEngine, surroundings, temporaryFolder } from './testing/small-run.js';
import { train } from './train.js';

beforeAll(startEngine);
afterEach(() => limitMemory(0));

/** What a run may take, over what is in use at its start: half of what it took at its peak. */
const SHARE = 0.5;

describe('a run that needs more memory than there is', () => {
  it('ends with the batch size that would fit, which does', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'), 40);
    const config = (batchSize: number, accumulate = 1) => smallConfig(join(folder.path, 'data'), { recipe: findRecipe('from-scratch'), epochs: 1, batchSize, accumulate, imageSize: 64 });
    const start = memory().liveBytes;
    resetPeak();
    await train(config(32), { out: folder.path }, surroundings());
    const peak = memory().peakBytes - start;

    limitMemory(start + Math.round(SHARE * peak));
    const failure: unknown = await train(config(32), { out: folder.path }, surroundings()).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(UserError);
    const { message } = failure as UserError;
    expect(message).toMatch(/^Out of memory in a step of 32 pictures of 64 px\. A --batch-size of \d+ would fit; --accumulate \d+ takes/);
    const fits = Number(/--batch-size of (\d+)/.exec(message)![1]), parts = Number(/--accumulate (\d+)/.exec(message)![1]);
    expect(fits).toBeGreaterThan(32 * SHARE * 0.4);
    // What was given up half-way is gone.
    expect(memory().liveBytes - start).toBeLessThan(0.1 * peak);
    await expect(train(config(fits), { out: folder.path }, surroundings())).resolves.toMatchObject({ reason: 'done' });
    await expect(train(config(32, parts), { out: folder.path }, surroundings())).resolves.toMatchObject({ reason: 'done' });
  });

  it('passes other errors on as they are', () => {
    const error = new Error('something else');
    expect(explainOutOfMemory(error, {} as Parameters<typeof explainOutOfMemory>[1])).toBe(error);
  });
});
