import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Recipe, findRecipe } from '@chameleon/core';
import { setThreads } from '@chameleon/tfjs-libtorch';
import { setBackend } from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { type TrainConfig, parseConfig } from '../config.js';
import type { TrainSurroundings } from '../train.js';

/** The real engine, on one thread: results don't depend on how work is shared out. */
export async function startEngine(): Promise<void> {
  await setBackend('libtorch');
  setThreads(1);
}

/** A folder that is gone when the test is over. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'chameleon-trainer-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Pictures of 40 x 40 px: stripes for one class and plain colours for the other. */
export async function drawSmallDataset(root: string, countPerClass = 15): Promise<void> {
  for (const [label, name] of ['plain', 'stripes'].entries()) {
    await mkdir(join(root, name), { recursive: true });
    for (let i = 0; i < countPerClass; i++) {
      const rgb = new Uint8Array(40 * 40 * 3);
      for (let p = 0; p < 40 * 40; p++) {
        const dark = label === 1 && Math.floor(p / 40 / (2 + (i % 3))) % 2 === 0;
        rgb.set([(i * 37) % 200, (i * 71) % 200, (i * 113) % 200].map((level) => (dark ? 0 : level + 40)), p * 3);
      }
      await sharp(rgb, { raw: { width: 40, height: 40, channels: 3 } }).png().toFile(join(root, name, `${String(i).padStart(3, '0')}.png`));
    }
  }
}

export function smallConfig(data: string, given: Partial<TrainConfig> & { recipe?: Recipe } = {}): TrainConfig {
  return parseConfig({ data, weights: 'random', architecture: 'resnet16w32', recipe: findRecipe('discriminative'), epochs: 2, batchSize: 8, imageSize: 32, ...given });
}

export const surroundings = (more: Partial<TrainSurroundings> = {}): TrainSurroundings => ({
  backend: 'libtorch',
  openWeights: () => Promise.resolve({ name: 'random weights', tensors: null }),
  workers: 1,
  ...more,
});
