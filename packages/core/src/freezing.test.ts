import { memory } from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freeze, unfreeze } from './freezing.js';
import { type Classifier, STAGE_NAMES, type StageName } from './models/classifier.js';
import { Adam } from './optimizers/adam.js';
import { BATCH_NORM_MODES, bitsOf, computeGradients, tinyBatch, tinyClassifier, trainTiny } from './testing/tiny.js';
import { useBackend } from './testing/engine.js';

beforeAll(() => useBackend('libtorch'));

let model: Classifier | undefined;
afterEach(() => {
  model?.dispose();
  model = undefined;
  expect(memory().numTensors).toBe(0);
});

const isBatchNorm = (name: string) => /(^|\.)bn\d|downsample\.1/.test(name);
const isStatistic = (name: string) => name.includes('running_');
const stageOf = (name: string) => name.split('.')[0] as StageName;

/** Whether a tensor's bits may change, by the tables of the design. */
type Moves = (name: string) => boolean;

/** Trains 20 steps and says which tensors' bits changed, after it has checked gradients and optimizer state. */
function movedTensors(trained: Classifier): Set<string> {
  const before = bitsOf(trained), optimizer = new Adam();
  trainTiny(trained, optimizer, 20);
  computeGradients(trained, tinyBatch(4, 77));
  for (const { name, trainable, gradient } of trained.parameters()) expect(gradient !== null, `${name} has a gradient`).toBe(trainable);
  for (const parameter of trained.parameters()) parameter.clearGradient();
  const learning = trained.parameters().filter(({ trainable }) => trainable).map(({ name }) => name);
  expect([...optimizer.state().tensors.keys()].sort()).toEqual(learning.flatMap((name) => [`exp_avg/${name}`, `exp_avg_sq/${name}`]).sort());
  expect(Object.keys(optimizer.state().steps).sort()).toEqual([...learning].sort());
  optimizer.dispose();
  const after = bitsOf(trained);
  return new Set([...before.keys()].filter((name) => before.get(name) !== after.get(name)));
}

function expectMoves(trained: Classifier, moves: Moves): void {
  const names = [...bitsOf(trained).keys()];
  expect([...movedTensors(trained)].sort()).toEqual(names.filter(moves).sort());
}

describe('a frozen body', () => {
  it.each([
    ['batch-stats', (name) => name.startsWith('fc') || isStatistic(name)],
    ['eval', (name) => name.startsWith('fc')],
    ['batch-norm-only', (name) => name.startsWith('fc') || isBatchNorm(name)],
  ] as [(typeof BATCH_NORM_MODES)[number], Moves][])('in %s mode changes what its row of the table says, and nothing else by one bit', (batchNorm, moves) => {
    model = tinyClassifier();
    freeze(model, { batchNorm });
    expectMoves(model, moves);
  });

  it('counts the batches that moved its statistics', () => {
    model = tinyClassifier();
    freeze(model, { batchNorm: 'eval' });
    trainTiny(model, new Adam(), 2, { groups: () => [] });
    expect(model.batchNorms().map((layer) => layer.batchesTracked)).toEqual(model.batchNorms().map(() => 0));
    freeze(model, { batchNorm: 'batch-stats' });
    trainTiny(model, new Adam(), 2, { groups: () => [] });
    expect(model.batchNorms().map((layer) => layer.batchesTracked)).toEqual(model.batchNorms().map(() => 2));
  });

  it("leaves the deep head's own BatchNorm to learn, whatever the body's does", () => {
    model = tinyClassifier('deep');
    freeze(model, { batchNorm: 'eval' });
    expectMoves(model, (name) => name.startsWith('fc'));
  });
});

describe('freezing up to a stage', () => {
  const body: readonly StageName[] = STAGE_NAMES.filter((name) => name !== 'fc');
  it.each(body.flatMap((upTo) => BATCH_NORM_MODES.map((batchNorm) => [upTo, batchNorm] as const)))('%s in %s mode freezes that stage and those below alone', (upTo, batchNorm) => {
    model = tinyClassifier();
    freeze(model, { upTo, batchNorm });
    const frozen = body.slice(0, body.indexOf(upTo) + 1);
    for (const { name, trainable } of model.parameters()) expect(trainable, name).toBe(!frozen.includes(stageOf(name)) || (batchNorm === 'batch-norm-only' && isBatchNorm(name)));
    for (const layer of model.batchNorms()) expect(layer.usesBatchStatistics, layer.name).toBe(!frozen.includes(stageOf(layer.name)) || batchNorm !== 'eval');
  });

  it('keeps what is below still and lets what is above learn', () => {
    model = tinyClassifier();
    freeze(model, { upTo: 'layer2', batchNorm: 'eval' });
    expectMoves(model, (name) => ['layer3', 'layer4', 'fc'].includes(stageOf(name)));
  });

  it('says which stages there are when the name is none of them', () => {
    const tiny = (model = tinyClassifier());
    expect(() => freeze(tiny, { upTo: 'layer22' as StageName, batchNorm: 'eval' })).toThrow("There is no stage called layer22 to freeze up to. Did you mean layer2? The body's stages are conv1, bn1, layer1, layer2, layer3, layer4.");
    expect(() => freeze(tiny, { upTo: 'fc', batchNorm: 'eval' })).toThrow('no stage called fc to freeze');
  });

  it('depends on the last call alone', () => {
    model = tinyClassifier();
    freeze(model, { batchNorm: 'eval' });
    freeze(model, { upTo: 'bn1', batchNorm: 'batch-stats' });
    expect(model.parameters().filter(({ trainable }) => !trainable).map(({ name }) => name)).toEqual(['conv1.weight', 'bn1.weight', 'bn1.bias']);
    expect(model.batchNorms().every((layer) => layer.usesBatchStatistics)).toBe(true);
  });
});

describe('an unfrozen body', () => {
  it('learns everywhere, and its statistics move', () => {
    model = tinyClassifier();
    freeze(model, { batchNorm: 'eval' });
    unfreeze(model);
    expectMoves(model, () => true);
  });

  it('keeps BatchNorm frozen and still where the recipe keeps eval', () => {
    model = tinyClassifier();
    unfreeze(model, { batchNorm: 'eval' });
    expectMoves(model, (name) => !isBatchNorm(name));
  });
});
