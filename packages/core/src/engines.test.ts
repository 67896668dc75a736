import { setBackend, tensor } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { freeze, unfreeze } from './freezing.js';
import { crossEntropy } from './loss.js';
import { createClassifier } from './models/classifier.js';
import { release } from './ops/kernels.js';
import { Adam } from './optimizers/adam.js';
import { randomStream } from './random.js';
import { Tape } from './tape.js';
import { useBackend } from './testing/engine.js';

const SIZE = 32, PICTURES = 4, STEPS = 4;
const MODES = { 'batch-stats': 'frozen', eval: 'frozen', 'batch-norm-only': 'frozen', unfrozen: 'all' } as const;
type Mode = keyof typeof MODES;

/** The losses of a few steps of ResNet18 from a seed, on drawn pixels, in float32. */
function lossesOf(mode: Mode): number[] {
  const model = createClassifier({ architecture: 'resnet18', classCount: 3, head: 'linear', seed: 5 });
  if (mode === 'unfrozen') unfreeze(model);
  else freeze(model, { batchNorm: mode });
  const random = randomStream(1, 2, 3), optimizer = new Adam();
  const learning = model.parameters().filter(({ trainable }) => trainable), inHead = (name: string) => name.startsWith('fc');
  // As the article's recipe: the body goes a hundredth of the head's way, or Adam's first steps would make much of the last digits.
  const groups = [{ name: 'head', learningRate: 1e-3, parameters: learning.filter(({ name }) => inHead(name)) }, { name: 'body', learningRate: mode === 'unfrozen' ? 1e-5 : 1e-3, parameters: learning.filter(({ name }) => !inHead(name)) }];
  const pixels = Float32Array.from({ length: PICTURES * SIZE * SIZE * 3 }, () => 2 * random.uniform() - 1), labels = Int32Array.from({ length: PICTURES }, (_, i) => i % 3);
  const losses = Array.from({ length: STEPS }, () => {
    const pictures = tensor(pixels, [PICTURES, SIZE, SIZE, 3]), tape = new Tape();
    const logits = model.forward(pictures, { tape, training: true, precision: 'float32', rowKeys: Array.from(labels, (_, i) => [i]) });
    const loss = crossEntropy(logits, labels, { labelSmoothing: 0, globalBatch: PICTURES });
    release(pictures, logits);
    tape.walk(loss.gradient)?.dispose();
    optimizer.step(groups);
    for (const parameter of model.parameters()) parameter.clearGradient();
    return loss.lossSum / PICTURES;
  });
  return losses;
}

/** TensorFlow's engine is there where set-up was asked for it; the compiler is not told of its package. */
const tensorflow: string = '@tensorflow/tfjs-node-gpu';
const hasTensorflow = await import(tensorflow).then(() => true, () => false);

describe('the same recipe', () => {
  const expected = {} as Record<Mode, number[]>;
  beforeAll(async () => {
    await useBackend('libtorch');
    for (const mode of Object.keys(MODES) as Mode[]) expected[mode] = lossesOf(mode);
  });

  const agrees = (mode: Mode) => {
    const losses = lossesOf(mode);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    losses.forEach((loss, i) => expect(Math.abs(loss - expected[mode][i]!), `step ${i}: ${loss}, and ${expected[mode][i]} on libtorch`).toBeLessThan(2e-3 * Math.max(1, expected[mode][i]!)));
  };
  it.each(Object.keys(MODES) as Mode[])('goes the same way on wasm as on libtorch: %s', async (mode) => {
    await useBackend('wasm');
    agrees(mode);
  });
  it.skipIf(!hasTensorflow).each(Object.keys(MODES) as Mode[])("goes the same way on TensorFlow's engine (where `setup --engine tensorflow` was run): %s", async (mode) => {
    expect(await setBackend('tensorflow')).toBe(true);
    agrees(mode);
  });
});
