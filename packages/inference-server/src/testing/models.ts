import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import '@chameleon/tfjs-libtorch';
import { type ModelCard, createClassifier, stateDictOf, writeSafetensors } from '@chameleon/core';
import { IMAGENET_NORMALIZATION } from '@chameleon/data';
import { ready, setBackend } from '@tensorflow/tfjs-core';

/** Model folders as training leaves them, with a small network of random weights. */

export const ENGINE = { module: '@chameleon/tfjs-libtorch', backend: 'libtorch' };

/** Makes libtorch the backend of the test's own process. */
export async function useLibtorch(): Promise<void> {
  await setBackend('libtorch');
  await ready();
}

export interface RandomModelOptions {
  seed?: number;
  head?: 'linear' | 'deep';
  classes?: string[];
  name?: string;
  imageSize?: number;
  precision?: 'float32' | 'bfloat16';
}

export async function writeRandomModel(folder: string, { seed = 1, head = 'linear', classes = ['camouflage', 'normal', 'unclear'], name = 'clothes', imageSize = 64, precision = 'float32' }: RandomModelOptions = {}): Promise<ModelCard> {
  await useLibtorch();
  const model = createClassifier({ architecture: 'resnet16w32', classCount: classes.length, head, seed });
  const weights = writeSafetensors(stateDictOf(model));
  model.dispose();
  const card: ModelCard = {
    formatVersion: 1, name, architecture: 'resnet16w32', head, classes, imageSize, normalization: IMAGENET_NORMALIZATION, precision, recipe: 'feature-extractor',
    validAccuracy: 0.5, runId: `run-${seed}`, createdAt: new Date(0).toISOString(), weightsSha256: createHash('sha256').update(weights).digest('hex'),
  };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'model.safetensors'), weights);
  await writeFile(join(folder, 'model.json'), JSON.stringify(card));
  return card;
}

/** A temporary folder, gone when the block ends. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'chameleon-serve-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
