import { useFusion } from '@chameleon/tfjs-libtorch';
import { type Tensor, memory, tensor } from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Relu } from './modules/activation.js';
import type { BatchNorm } from './modules/batch-norm.js';
import { Dropout } from './modules/dropout.js';
import { type Module, Sequential } from './modules/module.js';
import { ConcatPool, GlobalAveragePool, MaxPool } from './modules/pooling.js';
import { buildBlock } from './models/blocks.js';
import { Builder } from './models/builder.js';
import { randomStream } from './random.js';
import { TEST_BACKENDS, useBackend } from './testing/engine.js';
import { Tape } from './tape.js';

/**
 * Gradients by the tape against central differences. For each parameter, and for the input, one random direction d:
 * <gradient, d> = (L(x + h d) - L(x - h d)) / 2h, where L is the output weighted with fixed random numbers, summed in
 * double precision.
 */
const H = 5e-4;

interface Subject { name: string; make: () => Module; shape: number[] }

const builder = () => new Builder(5);
const frozen = (module: Module): Module => {
  for (const parameter of module.parameters()) parameter.trainable = false;
  return module;
};
const batchNorm = (usesBatchStatistics: boolean): BatchNorm => {
  const layer = builder().batchNorm('bn', 3);
  layer.usesBatchStatistics = usesBatchStatistics;
  layer.runningMean.replace(tensor([0.3, -0.2, 0.1]));
  layer.runningVariance.replace(tensor([0.5, 1.5, 2]));
  layer.weight.replace(tensor([0.7, 1.4, -0.9]));
  return layer;
};
const head = (kind: 'linear' | 'deep'): Module => {
  const make = builder();
  if (kind === 'linear') return new Sequential([new GlobalAveragePool(), make.linear('fc', 3, 4)]);
  return new Sequential([new ConcatPool(), make.linear('fc.0', 6, 8), make.batchNorm('fc.1', 8), new Relu(), new Dropout('fc.3', 0.5), make.linear('fc.4', 8, 4)]);
};

const SUBJECTS: Subject[] = [
  { name: 'a linear layer', make: () => builder().linear('fc', 5, 4), shape: [3, 5] },
  { name: 'a 3 x 3 convolution with strides', make: () => builder().conv('conv', 3, 4, 3, 2), shape: [2, 6, 5, 3] },
  { name: 'a 1 x 1 convolution with strides', make: () => builder().conv('conv', 3, 4, 1, 2), shape: [2, 6, 5, 3] },
  { name: 'a 7 x 7 convolution with strides', make: () => builder().conv('conv', 3, 2, 7, 2), shape: [1, 10, 9, 3] },
  { name: "BatchNorm with the batch's statistics, learning", make: () => batchNorm(true), shape: [4, 3, 2, 3] },
  { name: "BatchNorm with the batch's statistics, frozen", make: () => frozen(batchNorm(true)), shape: [4, 3, 2, 3] },
  { name: 'BatchNorm with running statistics, learning', make: () => batchNorm(false), shape: [4, 3, 2, 3] },
  { name: 'BatchNorm with running statistics, frozen', make: () => frozen(batchNorm(false)), shape: [4, 3, 2, 3] },
  { name: 'BatchNorm of features', make: () => batchNorm(true), shape: [6, 3] },
  { name: 'max pooling', make: () => new MaxPool({ filterSize: 3, strides: 2, pad: 1 }), shape: [2, 6, 6, 3] },
  { name: 'the linear head', make: () => head('linear'), shape: [3, 2, 2, 3] },
  { name: 'the deep head', make: () => head('deep'), shape: [6, 2, 2, 3] },
  { name: 'a residual block', make: () => buildBlock(builder(), 'basic', 'layer1.0', 3, 3, 1).block, shape: [4, 4, 4, 3] },
  { name: 'a residual block with a projection', make: () => buildBlock(builder(), 'basic', 'layer2.0', 3, 4, 2).block, shape: [4, 4, 4, 3] },
  { name: 'a bottleneck', make: () => buildBlock(builder(), 'bottleneck', 'layer2.0', 3, 2, 2).block, shape: [4, 4, 4, 3] },
];

/** Spread over at least 0.05, so that no step of the differences crosses a kink or turns a maximum. */
function spacedValues(count: number, ...key: (string | number)[]): Float32Array {
  const random = randomStream(...key);
  const order = Array.from({ length: count }, (_, i) => i).map((i) => [random.uniform(), i] as const).sort((a, b) => a[0] - b[0]);
  return Float32Array.from(order, ([, i]) => (2 * (i + 0.5)) / count - 1);
}
const direction = (count: number, ...key: (string | number)[]): Float32Array => {
  const random = randomStream('direction', ...key);
  return Float32Array.from({ length: count }, () => 2 * random.uniform() - 1);
};

const pass = (rows: number, tape: Tape | null) => ({ tape, training: true, precision: 'float32' as const, rowKeys: Array.from({ length: rows }, (_, row) => [9, row]) });

/** L, with the running statistics put back: they are no part of the function. */
function lossOf(module: Module, x: Tensor): number {
  const statistics = module.buffers().map(({ value }) => value.clone());
  const y = module.forward(x, pass(x.shape[0]!, null));
  const weights = direction(y.size, 'weights');
  const loss = dot(y.dataSync(), weights);
  y.dispose();
  module.buffers().forEach((buffer, i) => buffer.replace(statistics[i]!));
  return loss;
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);
const moved = (values: Float32Array, along: Float32Array, by: number) => values.map((value, i) => value + by * along[i]!);

/** The loss when the input, or the parameter that `set` sets, goes along a direction. */
function difference(values: Float32Array, along: Float32Array, lossAt: (values: Float32Array) => number): number {
  return (lossAt(moved(values, along, H)) - lossAt(moved(values, along, -H))) / (2 * H);
}

describe.each([...TEST_BACKENDS, 'libtorch without fusion'] as const)('the way back on %s', (subject) => {
  beforeAll(async () => {
    await useBackend(subject === 'libtorch without fusion' ? 'libtorch' : subject);
    useFusion(subject !== 'libtorch without fusion');
  });
  afterAll(() => useFusion(true));
  afterEach(() => expect(memory().numTensors).toBe(0));

  it.each(SUBJECTS)('through $name gives the gradients that differences give', ({ make, shape }) => {
    const module = make(), values = spacedValues(shape.reduce((product, size) => product * size, 1), 'input');
    const x = tensor(values, shape), tape = new Tape(true);
    const statistics = module.buffers().map(({ value }) => value.clone());
    const y = module.forward(x, pass(shape[0]!, tape));
    module.buffers().forEach((buffer, i) => buffer.replace(statistics[i]!));
    const dx = tape.walk(tensor(direction(y.size, 'weights'), y.shape))!;
    y.dispose();

    const close = (got: number, expected: number, what: string) => expect(Math.abs(got - expected), `${what}: ${got} by the tape, ${expected} by differences`).toBeLessThan(0.02 * Math.max(1, Math.abs(expected)));
    const along = direction(values.length, 'x');
    close(dot(dx.dataSync(), along), difference(values, along, (next) => {
      const input = tensor(next, shape), loss = lossOf(module, input);
      input.dispose();
      return loss;
    }), 'input');
    for (const parameter of module.parameters()) {
      if (!parameter.trainable) {
        expect(parameter.gradient, parameter.name).toBeNull();
        continue;
      }
      const before = Float32Array.from(parameter.value.dataSync()), ahead = direction(before.length, parameter.name);
      close(dot(parameter.gradient!.dataSync(), ahead), difference(before, ahead, (next) => {
        parameter.replace(tensor(next, parameter.shape));
        return lossOf(module, x);
      }), parameter.name);
    }
    for (const owner of [x, dx, ...module.parameters(), ...module.buffers()]) owner.dispose();
  });
});

describe('a tape', () => {
  beforeAll(() => useBackend('libtorch'));

  it('records nothing below the first module that learns', () => {
    const conv = frozen(builder().conv('conv', 3, 4, 3, 1)), linear = builder().linear('fc', 4, 2);
    const x = tensor(spacedValues(2 * 4 * 4 * 3, 'x'), [2, 4, 4, 3]), tape = new Tape();
    const y = new Sequential([conv, new Relu(), new GlobalAveragePool(), linear]).forward(x, pass(2, tape));
    expect(tape.length).toBe(1);
    expect(tape.walk(y.clone())).toBeNull();
    expect(conv.parameters()[0]!.gradient).toBeNull();
    expect(linear.parameters().every(({ gradient }) => gradient !== null)).toBe(true);
    for (const owner of [x, y, ...conv.parameters(), ...linear.parameters()]) owner.dispose();
    expect(memory().numTensors).toBe(0);
  });

  it('adds up the gradients of two passes', () => {
    const linear = builder().linear('fc', 2, 1), x = tensor([[1, 2]]);
    for (let time = 0; time < 2; time++) {
      const tape = new Tape();
      linear.forward(x, pass(1, tape)).dispose();
      tape.walk(tensor([[1]]))?.dispose();
    }
    expect([...linear.weight.gradient!.dataSync()]).toEqual([2, 4]);
    for (const owner of [x, ...linear.parameters()]) owner.dispose();
    expect(memory().numTensors).toBe(0);
  });
});
