import { join } from 'node:path';
import { calibrate, supportsInt8 } from '@chameleon/core';
import { memory, randomNormal } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServedModel } from '../compute/served-model.js';
import { temporaryFolder, useLibtorch, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { formOf, startTestServer } from '../testing/server.js';
import { writeCalibration } from './calibration-file.js';
import { openClassifier } from './model-folder.js';

/**
 * A model that is loaded, warmed, swapped in and unloaded gives back what it took. The long test does it 30 times and looks at the
 * process too: its resident memory is that of a few models, and stays so.
 */
const ROUNDS = process.env.CHAMELEON_TEST_FULL === '1' ? 30 : 3;
/** Rounds after which heaps and caches have their size. */
const WARM = 12;
/** ResNet34's weights in float32 are 85 MB, and 172 MB when they are laid out. Where each version left its share with the process, it grew by 45 MiB a round. */
const RESIDENT_BOUND_MIB = 120;

await useLibtorch();
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const at = (seed: number) => join(folder.path, `model-${seed}`);
beforeAll(async () => {
  folder = await temporaryFolder();
  for (const seed of [1, 2]) {
    const { weightsSha256, imageSize } = await writeRandomModel(at(seed), { seed, architecture: 'resnet34' });
    if (!supportsInt8()) continue;
    const { model } = await openClassifier(at(seed));
    const thresholds = await calibrate(model, [randomNormal([2, imageSize, imageSize, 3])]);
    model.dispose();
    await writeCalibration(at(seed), { formatVersion: 1, weightsSha256, thresholds: { ...thresholds }, pictureCount: 2, accuracy: null });
  }
});
afterAll(() => folder[Symbol.asyncDispose]());

interface Sample {
  /** As TF.js counts them in this thread. */
  tensors: number;
  bytes: number;
  /** As the addon's allocator counts them, of all threads. */
  liveBytes: number;
  residentMiB: number;
}

function sample(): Sample {
  const { numTensors, numBytes, liveBytes } = memory() as ReturnType<typeof memory> & { liveBytes: number };
  return { tensors: numTensors, bytes: numBytes, liveBytes, residentMiB: process.memoryUsage.rss() / 2 ** 20 };
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

function expectFlat(samples: readonly Sample[]): void {
  expect(samples).toHaveLength(ROUNDS);
  for (const { tensors, bytes, liveBytes } of samples) expect({ tensors, bytes, liveBytes }).toEqual({ tensors: samples[0]!.tensors, bytes: samples[0]!.bytes, liveBytes: samples[0]!.liveBytes });
  if (ROUNDS < 2 * WARM) return;
  const resident = samples.map(({ residentMiB }) => residentMiB);
  expect(median(resident.slice(-9)) - median(resident.slice(WARM, WARM + 9)), resident.map(Math.round).join(', ')).toBeLessThan(RESIDENT_BOUND_MIB);
  expect(Math.max(...resident.slice(WARM)) - resident[0]!, resident.map(Math.round).join(', ')).toBeLessThan(3 * RESIDENT_BOUND_MIB);
}

describe(`memory over ${ROUNDS} models`, () => {
  test('that a server loads, makes stable and unloads is flat', { timeout: 300_000 }, async () => {
    await using server = await startTestServer({ models: [{ path: at(1), version: '0' }], modelsRoot: folder.path });
    const change = async (method: string, path: string, body?: object) => {
      const response = await fetch(`${server.url}/v1/models/clothes${path}`, { method, ...(body ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } } : {}) });
      expect(response.ok, await response.text()).toBe(true);
    };
    const picture = await drawPicture(1), samples: Sample[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      await change('POST', '/versions', { path: `model-${1 + (round % 2)}`, version: String(round) });
      await change('PUT', '/labels/stable', { version: String(round) });
      expect(await (await fetch(`${server.url}/v1/classify`, { method: 'POST', body: formOf(picture, picture) })).json()).toMatchObject({ model: { version: String(round) } });
      await change('DELETE', `/versions/${round - 1}`);
      samples.push(sample());
    }
    expectFlat(samples);
    expect(samples[0]!.liveBytes).toBeGreaterThan(85e6);
  });

  test.each(['float32', 'bfloat16', 'int8'] as const)('that are opened, warmed and closed in one thread in %s is flat', { timeout: 300_000 }, async (precision) => {
    if (precision === 'int8' && !supportsInt8()) return await expect(ServedModel.open(at(1), precision)).rejects.toThrow('int8 is not to be had here');
    const samples: Sample[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const model = await ServedModel.open(at(1 + (round % 2)), precision), pixels = new Float32Array(model.card.imageSize ** 2 * 3);
      for (const size of [1, 4]) expect(model.predict(Array.from({ length: size }, () => pixels))).toHaveLength(size * 3);
      model.dispose();
      samples.push(sample());
    }
    expectFlat(samples);
    expect(samples[0]).toMatchObject({ tensors: 0, bytes: 0, liveBytes: 0 });
  });
});
