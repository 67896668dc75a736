import { type NamedAttrMap, type NamedTensorMap, type Tensor, add, conv2d, engine, getKernel, maxPool, memory, ready, relu, setBackend, tensor, transpose } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { bindThreads, setThreads } from './index.js';

const run = (name: string, inputs: Record<string, Tensor | Tensor[]>, attributes: object): Tensor => engine().runKernel(name, inputs as unknown as NamedTensorMap, attributes as NamedAttrMap) as unknown as Tensor;
const noise = (shape: number[], seed: number): Tensor => tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(12.9898 * (i + 1) * (seed + 1)) % 1), shape);

const [prepares, bytes] = await setBackend('libtorch').then(ready).then(() => ['PrepareNetwork', 'PreparedNetworkInBytes'].map((name) => getKernel(name, 'libtorch') != null));
afterEach(() => expect(memory().numTensors).toBe(0));

const CHANNELS = 16;
const wide = { scale: 0, signed: true };
/** A stem, a pooling, and a block with a projection whose sum is made in place. */
const steps = [
  { kind: 'convolution', input: 0, output: 1, add: -1, relu: true, strides: 1, padding: 1 },
  { kind: 'max-pool', input: 1, output: 2 },
  { kind: 'convolution', input: 2, output: 3, add: -1, relu: false, strides: 1, padding: 0 },
  { kind: 'convolution', input: 2, output: 4, add: -1, relu: true, strides: 1, padding: 1 },
  { kind: 'convolution', input: 4, output: 5, add: 3, relu: true, strides: 1, padding: 1 },
  { kind: 'convolution', input: 5, output: 6, add: 5, relu: true, strides: 1, padding: 1 },
];
const shapes = [[CHANNELS, 3, 3, 3], [CHANNELS, CHANNELS, 1, 1], ...[1, 2, 3].map(() => [CHANNELS, CHANNELS, 3, 3])];
const filters = () => shapes.map((shape, i) => noise(shape, i)), biases = () => shapes.map((_, i) => noise([CHANNELS], 10 + i));

/** The values 2 to 6 of the same network, made of TF.js's own operators. */
function expected(x: Tensor, weights: Tensor[], summands: Tensor[]): Float32Array[] {
  const values = engine().tidy(() => {
    const conv = (from: Tensor, i: number, pad: number) => add(conv2d(from as Tensor<never>, transpose(weights[i]!, [2, 3, 1, 0]) as Tensor<never>, 1, pad === 0 ? 'valid' : pad), summands[i]!);
    const pooled = maxPool(relu(conv(x, 0, 1)) as Tensor<never>, 3, 2, 1), projected = conv(pooled, 1, 0), inner = relu(conv(pooled, 2, 1));
    const block = relu(add(conv(inner, 3, 1), projected));
    return [pooled, projected, inner, block, relu(add(conv(block, 4, 1), block))];
  }) as Tensor[];
  return values.map((value) => {
    const read = value.dataSync() as Float32Array;
    value.dispose();
    return read;
  });
}

const largestOf = (values: Float32Array): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** @param scalesFor how to hold the values, given the largest of values 2 to 6 */
function check(precision: string, kernel: string, tolerance: number, scalesFor: (largest: number[]) => { scale: number; signed: boolean }[]) {
  fc.assert(fc.property(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 4, max: 13 }), fc.integer({ min: 4, max: 13 }), (batch, height, width) => {
    const x = noise([batch, height, width, 3], 20), weights = filters(), summands = biases(), seen = expected(x, weights, summands), wanted = seen.at(-1)!;
    const network = run('PrepareNetwork', { filters: weights, biases: summands }, { steps, values: scalesFor(seen.map(largestOf)), precision }), y = run(kernel, { network, x }, {}), answer = y.dataSync();
    for (const t of [x, y, network, ...weights, ...summands]) t.dispose();
    expect(answer.length).toBe(wanted.length);
    wanted.forEach((value, i) => expect(Math.abs(value - answer[i]!)).toBeLessThan(tolerance * largestOf(wanted)));
  }), { numRuns: 25 });
}

const allWide = () => Array.from({ length: 7 }, () => wide);
/** The projection has signs, the others are ReLU's. */
const inBytes = (largest: number[]) => [wide, wide, ...largest.slice(0, 4).map((value, i) => ({ scale: value / (i === 1 ? 127 : 255), signed: i === 1 })), wide];

describe.skipIf(!prepares)('a prepared network (needs the headers of libdnnl-dev)', () => {
  it.each([['float32', 1e-4], ['bfloat16', 0.1]] as const)('is its operations, for batches and sizes as they come, in %s', (precision, tolerance) => check(precision, 'PreparedNetwork', tolerance, allWide));

  it.skipIf(!bytes)('is its operations, up to rounding, with values and filters in bytes', () => check('bfloat16', 'PreparedNetworkInBytes', 0.1, inBytes));

  it('refuses what does not fit, and tensors that are none', () => {
    const weights = filters(), summands = biases(), values = allWide(), x = noise([1, 5, 5, 4], 1);
    const network = run('PrepareNetwork', { filters: weights, biases: summands }, { steps, values, precision: 'float32' });
    expect(() => run('PreparedNetwork', { network, x }, {})).toThrow('takes 3 channels');
    expect(() => run('PreparedNetwork', { network: x, x }, {})).toThrow('no prepared network');
    expect(() => run('PrepareNetwork', { filters: weights, biases: summands }, { steps, values: values.slice(1), precision: 'float32' })).toThrow('there is no value 6');
    for (const t of [...weights, ...summands, network, x]) t.dispose();
  });
});

it('binds no threads when fewer compute than there are processors', () => {
  setThreads(1);
  expect(bindThreads()).toBe(false);
});
