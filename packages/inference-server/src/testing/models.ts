import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import '@chameleon/tfjs-libtorch';
import { type HostTensor, type ModelCard, createClassifier, hostTensor, randomStream, stateDictOf, toFloat32, writeSafetensors } from '@chameleon/core';
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
  architecture?: string;
  /** BatchNorms have statistics, scales and shifts of their own, as after training. */
  lively?: boolean;
}

export async function writeRandomModel(folder: string, { seed = 1, head = 'linear', classes = ['camouflage', 'normal', 'unclear'], name = 'clothes', imageSize = 64, precision = 'float32', architecture = 'resnet16w32', lively = false }: RandomModelOptions = {}): Promise<ModelCard> {
  await useLibtorch();
  const model = createClassifier({ architecture, classCount: classes.length, head, seed });
  const weights = writeSafetensors(lively ? enliven(stateDictOf(model), seed) : stateDictOf(model));
  model.dispose();
  const card: ModelCard = {
    formatVersion: 1, name, architecture, head, classes, imageSize, normalization: IMAGENET_NORMALIZATION, precision, recipe: 'feature-extractor',
    validAccuracy: 0.5, runId: `run-${seed}`, createdAt: new Date(0).toISOString(), weightsSha256: createHash('sha256').update(weights).digest('hex'),
  };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'model.safetensors'), weights);
  await writeFile(join(folder, 'model.json'), JSON.stringify(card));
  return card;
}

/** ResNet-18 for 200 classes of Tiny ImageNet, from the folder that CHAMELEON_TEST_DATA names. */
export async function writeRealModel(folder: string, data: string, precision: 'float32' | 'bfloat16' = 'float32'): Promise<ModelCard> {
  const weights = await readFile(join(data, 'weights/resnet18-tiny.safetensors'));
  const card: ModelCard = {
    formatVersion: 1, name: 'tiny', architecture: 'resnet18', head: 'linear', classes: Array.from({ length: 200 }, (_, i) => `class-${i}`), imageSize: 64, normalization: IMAGENET_NORMALIZATION, precision,
    recipe: 'none', validAccuracy: null, runId: 'tiny', createdAt: new Date(0).toISOString(), weightsSha256: createHash('sha256').update(weights).digest('hex'),
  };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'model.safetensors'), weights);
  await writeFile(join(folder, 'model.json'), JSON.stringify(card));
  return card;
}

function enliven(state: Map<string, HostTensor>, seed: number): Map<string, HostTensor> {
  const random = randomStream(seed, 'lively');
  return new Map([...state].map(([name, tensor]) => {
    const centre = name.endsWith('.running_var') || (name.endsWith('.weight') && tensor.shape.length === 1) ? 1 : name.endsWith('.running_mean') || (name.endsWith('.bias') && !name.startsWith('fc')) ? 0 : null;
    return [name, centre === null ? tensor : hostTensor(toFloat32(tensor).map(() => centre + 0.3 * (2 * random.uniform() - 1)), tensor.shape)];
  }));
}

/** A temporary folder, gone when the block ends. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'chameleon-serve-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
