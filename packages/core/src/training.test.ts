import { memory } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { freeze } from './freezing.js';
import { STAGE_NAMES } from './models/classifier.js';
import { Adam } from './optimizers/adam.js';
import { Sgd } from './optimizers/sgd.js';
import type { ParameterGroup } from './optimizers/optimizer.js';
import { type Recipe, applyPhase, findRecipe, rateFactor } from './recipes.js';
import { type TestBackend, useBackend } from './testing/engine.js';
import { BATCH_NORM_MODES, type TinyBatch, computeGradients, tinyBatch, tinyClassifier, trainTiny } from './testing/tiny.js';

const part = ({ pixels, labels, keys }: TinyBatch, from: number, to: number): TinyBatch => {
  const each = pixels.length / labels.length;
  return { pixels: pixels.subarray(from * each, to * each), labels: labels.subarray(from, to), keys: keys.slice(from, to) };
};

/** The losses of a recipe's phases, a few steps each. */
async function lossesOn(backend: TestBackend, recipe: Recipe, stepsAPhase: number): Promise<number[]> {
  await useBackend(backend);
  const model = tinyClassifier(recipe.head), optimizer = new Sgd({ momentum: 0.9, weightDecay: 1e-3 });
  const losses = recipe.phases.flatMap((phase, index) => {
    applyPhase(model, phase);
    const groups = (): ParameterGroup[] => STAGE_NAMES.map((stage) => ({ name: stage, learningRate: 0.02 * rateFactor(phase, stage), parameters: model.stages.get(stage)!.parameters() }));
    return trainTiny(model, optimizer, stepsAPhase, { groups, from: index * stepsAPhase });
  });
  model.dispose();
  optimizer.dispose();
  expect(memory().numTensors).toBe(0);
  return losses;
}

describe('the same recipe on every backend', () => {
  it.each(['discriminative', 'discriminative-bn-eval', 'deep-head'])('has the same losses: %s', async (name) => {
    const recipe = findRecipe(name);
    const expected = await lossesOn('cpu', recipe, 4);
    for (const backend of ['wasm', 'libtorch'] as const) {
      (await lossesOn(backend, recipe, 4)).forEach((loss, step) => expect(Math.abs(loss - expected[step]!), `${backend}, step ${step}: ${loss}, not ${expected[step]}`).toBeLessThan(2e-3 * Math.max(1, expected[step]!)));
    }
  });

  it('learns: the loss falls, in either precision', async () => {
    await useBackend('libtorch');
    for (const precision of ['float32', 'bfloat16'] as const) {
      const model = tinyClassifier(), optimizer = new Adam();
      const losses = trainTiny(model, optimizer, 40, { precision, rows: 12 });
      const mean = (values: number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
      expect(mean(losses.slice(-5))).toBeLessThan(0.5 * mean(losses.slice(0, 3)));
      model.dispose();
      optimizer.dispose();
    }
  });
});

describe('a training step', () => {
  it.each(BATCH_NORM_MODES.flatMap((mode) => (['linear', 'deep'] as const).map((head) => [mode, head] as const)))('leaves no tensor behind in 50 steps (BatchNorm %s, %s head)', async (batchNorm, head) => {
    await useBackend('libtorch');
    const model = tinyClassifier(head), optimizer = new Adam();
    freeze(model, { batchNorm });
    trainTiny(model, optimizer, 2, { rows: 3 });
    const before = memory() as ReturnType<typeof memory> & { tensors: number; liveBytes: number };
    trainTiny(model, optimizer, 48, { rows: 3 });
    expect(memory()).toMatchObject({ numTensors: before.numTensors, numDataBuffers: before.numDataBuffers, tensors: before.tensors, liveBytes: before.liveBytes });
    model.dispose();
    optimizer.dispose();
    expect(memory().numTensors).toBe(0);
  });

  it('gives the same gradient as a whole and as the sum of two slices, where BatchNorm is in eval mode', async () => {
    await useBackend('libtorch');
    const model = tinyClassifier('linear'), batch = tinyBatch(6);
    freeze(model, { upTo: 'layer1', batchNorm: 'eval' });
    for (const layer of model.batchNorms()) layer.usesBatchStatistics = false;
    const gradients = () => model.parameters().map((parameter) => {
      const values = parameter.gradient && [...parameter.gradient.dataSync()];
      parameter.clearGradient();
      return values;
    });
    computeGradients(model, batch);
    const whole = gradients();
    computeGradients(model, part(batch, 0, 2), { globalBatch: 6 });
    computeGradients(model, part(batch, 2, 6), { globalBatch: 6 });
    gradients().forEach((values, i) => values?.forEach((value, j) => expect(Math.abs(value - whole[i]![j]!)).toBeLessThan(1e-5 * Math.max(1, Math.abs(value)))));
    expect(whole.filter(Boolean).length).toBeGreaterThan(10);
    model.dispose();
  });

  it('gives the deep head the same gradient in slices, for dropout goes by the row (but for its BatchNorm)', async () => {
    await useBackend('libtorch');
    const model = tinyClassifier('deep'), batch = tinyBatch(6);
    freeze(model, { batchNorm: 'eval' });
    for (const layer of model.batchNorms()) layer.usesBatchStatistics = false;
    const bias = model.parameters().find(({ name }) => name === 'fc.0.weight')!;
    const gradient = () => {
      const values = [...bias.gradient!.dataSync()];
      for (const parameter of model.parameters()) parameter.clearGradient();
      return values;
    };
    computeGradients(model, batch);
    const whole = gradient();
    for (const [from, to] of [[0, 1], [1, 4], [4, 6]] as const) computeGradients(model, part(batch, from, to), { globalBatch: 6 });
    gradient().forEach((value, i) => expect(value).toBeCloseTo(whole[i]!, 5));
    model.dispose();
  });
});
