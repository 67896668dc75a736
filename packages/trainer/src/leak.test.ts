import { join } from 'node:path';
import { findRecipe } from '@chameleon/core';
import { memory } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { median } from './median.js';
import { drawSmallDataset, smallConfig, startEngine, surroundings, temporaryFolder } from './testing/small-run.js';
import { train } from './train.js';

beforeAll(startEngine);

/** The long test takes 2,000 steps. */
const STEPS = process.env.CHAMELEON_TEST_FULL === '1' ? 2000 : 200;
const COUNT_PER_CLASS = 500, BATCH = 4, SIZE = 64, STEPS_PER_EPOCH = 200;
/** Steps after which parameters have their gradients and the optimizer its state. */
const WARM = 20;
/**
 * Steps after which the process has its size: each epoch ends with a validation and a checkpoint, whose larger batches the allocator, the
 * decoding threads and V8 make room for in the first two or three (90 MB, seen in a run of 2,000 steps, which then ended where its 400th
 * stood). The short test has no such end between its samples.
 */
const SETTLED = STEPS > 600 ? 600 : 40;
/**
 * By how much the median of the last 40 steps may lie above that of the first 40 after SETTLED. V8's heap and the threads' cache of decoded
 * pictures move it by 7 to 8 MB; one batch of pixels kept a step, 4 x 64 x 64 x 3 floats, would be 24 MB in the short test and 270 in the long.
 */
const RESIDENT_BOUND_BYTES = 16e6;

interface Sample {
  tensors: number;
  /** As TF.js counts them, and as the addon's allocator does. */
  bytes: number;
  liveBytes: number;
  residentBytes: number;
}

function sample(): Sample {
  const { numTensors, numBytes, liveBytes } = memory() as ReturnType<typeof memory> & { liveBytes: number };
  return { tensors: numTensors, bytes: numBytes, liveBytes, residentBytes: process.memoryUsage.rss() };
}

describe(`memory over ${STEPS} steps`, () => {
  it('is flat: the same tensors and bytes after every step, and no growth of the process beyond its own warming up', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'), COUNT_PER_CLASS);
    const config = smallConfig(join(folder.path, 'data'), { recipe: findRecipe('from-scratch'), epochs: STEPS / STEPS_PER_EPOCH, batchSize: BATCH, imageSize: SIZE });
    const samples: Sample[] = [];
    await train(config, { out: folder.path }, surroundings({ observe: (event) => void (event.type === 'step' && samples.push(sample())) }));
    expect(samples).toHaveLength(STEPS);
    const ofTensors = samples.slice(WARM).map(({ tensors, bytes, liveBytes }) => ({ tensors, bytes, liveBytes }));
    expect(new Set(ofTensors.map((each) => JSON.stringify(each)))).toEqual(new Set([JSON.stringify(ofTensors[0])]));
    const residentBytes = (from: number, to: number) => median(samples.slice(from, to).map((each) => each.residentBytes));
    expect(residentBytes(STEPS - 40, STEPS) - residentBytes(SETTLED, SETTLED + 40)).toBeLessThan(RESIDENT_BOUND_BYTES);
  }, 600_000);
});
