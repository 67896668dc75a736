import { type NamedAttrMap, type NamedTensorMap, type Tensor, add, conv2d, engine, getKernel, memory, ready, relu, setBackend, tensor, transpose } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import './index.js';

beforeAll(async () => {
  await setBackend('libtorch');
  await ready();
});
afterEach(() => expect(memory().numTensors).toBe(0));

const run = (name: string, inputs: Record<string, Tensor>, attributes: object): Tensor => engine().runKernel(name, inputs as unknown as NamedTensorMap, attributes as NamedAttrMap) as unknown as Tensor;
const prepare = (filter: Tensor, bias: Tensor, strides: number, padding: number, precision = 'float32') => run('PrepareConvolution', { filter, bias }, { strides, padding, precision });

/** Values between -1 and 1 that look like noise, the same each time. */
const noise = (shape: number[], seed: number): Tensor => tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(12.9898 * (i + 1) * (seed + 1)) % 1), shape);

const compiledWithOneDnn = await setBackend('libtorch').then(() => getKernel('PrepareConvolution', 'libtorch') != null);

describe.skipIf(!compiledWithOneDnn)('a prepared convolution (needs the headers of libdnnl-dev)', () => {
  it('is convolution, bias, sum and ReLU, for batches and sizes as they come', () => {
    const shapes = fc.record({ batch: fc.integer({ min: 1, max: 3 }), side: fc.integer({ min: 3, max: 12 }), inputs: fc.constantFrom(3, 8, 16), outputs: fc.constantFrom(4, 16, 32), size: fc.constantFrom(1, 3), strides: fc.constantFrom(1, 2), sum: fc.boolean(), positive: fc.boolean() });
    fc.assert(fc.property(shapes, ({ batch, side, inputs, outputs, size, strides, sum, positive }) => {
      const padding = (size - 1) / 2, filter = noise([outputs, inputs, size, size], 1), bias = noise([outputs], 2), x = noise([batch, side, side, inputs], 3);
      const prepared = prepare(filter, bias, strides, padding);
      const ours = transpose(filter, [2, 3, 1, 0]) as Tensor<never>, product = conv2d(x as Tensor<never>, ours, strides, padding === 0 ? 'valid' : padding);
      const biased = add(product, bias), summand = noise(biased.shape, 4);
      const total = sum ? add(biased, summand) : biased.clone(), expected = positive ? relu(total) : total.clone();
      const y = run('PreparedConvolution', { prepared, x, ...(sum ? { summand } : {}) }, { relu: positive });
      const values = y.dataSync();
      expect(y.shape).toEqual(expected.shape);
      expected.dataSync().forEach((value, i) => expect(Math.abs(value - values[i]!)).toBeLessThan(1e-4));
      for (const t of [filter, bias, x, prepared, ours, product, biased, summand, total, expected, y]) t.dispose();
    }), { numRuns: 40 });
  });

  it('answers again for another batch, in either precision, and goes when its tensor goes', () => {
    const filter = noise([16, 16, 3, 3], 1), bias = noise([16], 2);
    for (const [precision, tolerance] of [['float32', 1e-5], ['bfloat16', 0.05]] as const) {
      const prepared = prepare(filter, bias, 1, 1, precision);
      const single = noise([1, 6, 6, 16], 5), double = tensor(Float32Array.from([...single.dataSync(), ...single.dataSync()]), [2, 6, 6, 16]);
      const answers = [single, double, single].map((x) => {
        const y = run('PreparedConvolution', { prepared, x }, { relu: true }), values = [...y.dataSync()];
        y.dispose();
        return values;
      });
      expect(answers[2]).toEqual(answers[0]);
      answers[1]!.forEach((value, i) => expect(Math.abs(value - answers[0]![i % answers[0]!.length]!)).toBeLessThan(tolerance));
      for (const t of [prepared, single, double]) t.dispose();
    }
    for (const t of [filter, bias]) t.dispose();
  });

  it('refuses what does not fit, and tensors that are none', () => {
    const filter = noise([4, 8, 3, 3], 1), bias = noise([4], 2), x = noise([1, 5, 5, 8], 3), wrong = noise([1, 5, 5, 4], 3);
    const prepared = prepare(filter, bias, 1, 1);
    expect(() => prepare(filter, wrong, 1, 1)).toThrow('a bias to prepare');
    expect(() => prepare(filter, bias, 0, 1)).toThrow('a stride is positive');
    expect(() => run('PreparedConvolution', { prepared, x: wrong }, { relu: false })).toThrow('takes 8 channels');
    expect(() => run('PreparedConvolution', { prepared, x, summand: x }, { relu: false })).toThrow('another shape or layout');
    expect(() => run('PreparedConvolution', { prepared: x, x }, { relu: false })).toThrow('no prepared convolution');
    for (const t of [filter, bias, x, wrong, prepared]) t.dispose();
  });
});
