import { type Tensor, concat, max, mean, memory, tensor, tidy } from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type HeadKind, createClassifier } from '../models/classifier.js';
import { Sgd } from '../optimizers/sgd.js';
import { randomStream } from '../random.js';
import { supportsInt8 } from '../ops/precision.js';
import { Tape, inference } from '../tape.js';
import { type TestBackend, useBackend } from '../testing/engine.js';
import { picturesOf, tinyBatch, tinyClassifier, trainTiny } from '../testing/tiny.js';
import { stateDictOf } from '../weights/state-dict.js';
import { calibrate } from './calibrate.js';
import { Histogram, thresholdOf } from './calibration.js';
import { foldNetwork } from './fold.js';
import { foldClassifier } from './folded-classifier.js';
import { type Operation, networkOf } from './network.js';

/** A tiny classifier whose BatchNorms have statistics, scales and shifts of their own. */
function trained(head: HeadKind) {
  const model = tinyClassifier(head), optimizer = new Sgd({ momentum: 0.9, weightDecay: 0 });
  trainTiny(model, optimizer, 6);
  optimizer.dispose();
  return model;
}

const valuesOf = (x: Tensor): Float32Array => {
  const values = x.dataSync() as Float32Array;
  x.dispose();
  return values;
};

describe.each([['cpu', 'float32', 1e-4], ['wasm', 'float32', 1e-4], ['libtorch', 'float32', 1e-4], ['libtorch', 'bfloat16', 0.06]] as const)('a folded classifier on %s in %s', (backend, precision, tolerance) => {
  beforeEach(() => useBackend(backend as TestBackend));
  afterEach(() => expect(memory().numTensors).toBe(0));

  it.each(['linear', 'deep'] as const)('has the logits of evaluation (%s head)', (head) => {
    const model = trained(head), folded = foldClassifier(model, precision);
    for (const rows of [1, 5, 1]) {
      const pictures = picturesOf(tinyBatch(rows, 99));
      const expected = valuesOf(model.forward(pictures, inference(precision)));
      const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      valuesOf(folded.forward(pictures)).forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(tolerance * largest));
      const features = folded.features(pictures);
      valuesOf(folded.classify(features)).forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(tolerance * largest));
      for (const t of [features, pictures]) t.dispose();
    }
    folded.dispose();
    model.dispose();
  });
});

const bytes = await useBackend('libtorch').then(supportsInt8, () => false);

describe.skipIf(!bytes)('a folded classifier in bytes (needs libdnnl-dev and a processor with VNNI)', () => {
  it.each(['linear', 'deep'] as const)('has the logits of evaluation (%s head)', async (head) => {
    await useBackend('libtorch');
    const model = trained(head), thresholds = await calibrate(model, [1, 2, 3].map((seed) => picturesOf(tinyBatch(8, seed))));
    const folded = foldClassifier(model, 'int8', thresholds);
    for (const rows of [1, 5, 1]) {
      const pictures = picturesOf(tinyBatch(rows, 99)), expected = valuesOf(model.forward(pictures, inference('float32')));
      const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      valuesOf(folded.forward(pictures)).forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(0.1 * largest));
      pictures.dispose();
    }
    expect(() => foldClassifier(model, 'int8')).toThrow('go together');
    expect(() => foldClassifier(model, 'int8', {})).toThrow('the calibration does not know maxpool');
    for (const t of [folded, model]) t.dispose();
    expect(memory().numTensors).toBe(0);
  });
});

describe('the threshold of a value in bytes', () => {
  it('keeps what is common and cuts off what is rare and far', () => {
    const even = new Histogram(), withOutlier = new Histogram();
    for (const histogram of [even, withOutlier]) histogram.add(Float32Array.from({ length: 100_000 }, (_, i) => Math.sin(i)));
    withOutlier.add(Float32Array.of(6));
    expect(thresholdOf(even, 255)).toBeCloseTo(1, 1);
    expect(thresholdOf(withOutlier, 15)).toBeLessThan(3);
    expect(thresholdOf(new Histogram(), 255)).toBe(1);
  });
});

describe('the slope of a class by the pooled features', () => {
  it.each(['linear', 'deep'] as const)("is the head's own gradient (%s head)", async (head) => {
    await useBackend('cpu');
    const model = trained(head), folded = foldClassifier(model, 'float32'), pictures = picturesOf(tinyBatch(1, 5));
    const features = folded.features(pictures);
    for (const classIndex of [0, 1, 2]) {
      const tape = new Tape(true), pooled = tidy(() => (head === 'deep' ? concat([mean(features, [1, 2]), max(features, [1, 2])], 1) : mean(features, [1, 2])));
      const logits = model.stages.get('fc')!.forward(pooled, { tape, training: false, precision: 'float32' });
      const expected = valuesOf(tape.walk(tensor([0, 1, 2].map((i) => (i === classIndex ? 1 : 0)), [1, 3]))!);
      const slope = folded.classSlope(features, classIndex);
      expect(slope.shape).toEqual([1, expected.length]);
      valuesOf(slope).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 4));
      for (const parameter of model.parameters()) parameter.clearGradient();
      for (const t of [pooled, logits]) t.dispose();
    }
    for (const t of [features, pictures, folded, model]) t.dispose();
    expect(memory().numTensors).toBe(0);
  });
});

describe('folding', () => {
  it('leaves one convolution or linear layer for each of the network, and no BatchNorm', async () => {
    await useBackend('cpu');
    for (const architecture of [{ name: 'a', block: 'basic', layers: [1, 2, 1, 1], width: 4 }, { name: 'b', block: 'bottleneck', layers: [1, 1, 2, 1], width: 4 }] as const) {
      const model = createClassifier({ architecture: { ...architecture, layers: [...architecture.layers] }, classCount: 3, head: 'deep', seed: 1 });
      const operations = networkOf(architecture, 'deep'), tensors = stateDictOf(model);
      const folded = foldNetwork(operations, tensors);
      const count = (kind: string) => folded.filter((operation) => operation.kind === kind).length;
      expect(count('convolution')).toBe(operations.filter(({ kind }) => kind === 'convolution').length);
      expect(folded.length).toBe(count('convolution') + count('linear') + 4);
      expect(folded.filter((operation) => operation.kind === 'convolution' && operation.add !== null).length).toBe(architecture.layers.reduce((all, blocks) => all + blocks, 0));
      const named = new Set([...operations.flatMap((operation) => (operation.kind === 'convolution' ? [operation.weight] : operation.kind === 'batch-norm' ? ['weight', 'bias', 'running_mean', 'running_var'].map((part) => `${operation.name}.${part}`) : operation.kind === 'linear' ? [`${operation.name}.weight`, `${operation.name}.bias`] : []))]);
      expect([...tensors.keys()].filter((name) => !named.has(name) && !name.endsWith('num_batches_tracked'))).toEqual([]);
      model.dispose();
    }
  });

  it('refuses a network in which an overwritten value is asked for again', () => {
    const random = randomStream('fold'), weight = { dtype: 'F32' as const, shape: [2, 2, 1, 1], bytes: new Uint8Array(Float32Array.from({ length: 4 }, () => random.normal()).buffer) };
    const conv = (name: string, input: string): Operation => ({ kind: 'convolution', name, input, weight: 'w', strides: 1, padding: 0 });
    const operations: Operation[] = [conv('a', 'pictures'), conv('b', 'a'), { kind: 'sum', name: 's', input: 'b', other: 'a' }, conv('c', 'a')];
    expect(() => foldNetwork(operations, new Map([['w', weight]]))).toThrow('a is needed after b has overwritten it');
    expect(() => foldNetwork([{ kind: 'relu', name: 'r', input: 'pictures' }], new Map())).toThrow('follows nothing');
  });
});
