import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, input } from '../case.js';

const complex = (shape: number[], seed = 1) => tf.complex(input(shape, { seed }), input(shape, { seed: seed + 50 }));

type Both = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;
const of = (kernel: string, what: string, f: Both, shape = [3, 4], other = shape) => conformanceCase(kernel, `complex64, ${what}`, () => f(complex(shape), complex(other, 2)));

/** What treats both parts alike, where the reference knows no complex numbers or broadcasts them wrongly. */
const byParts = (kernel: string, what: string, f: Both, shape = [3, 4], other = shape) => conformanceCase(kernel, `complex64, ${what}`, () => f(complex(shape), complex(other, 2)), {
  reference: () => tf.complex(f(input(shape), input(other, { seed: 2 })), f(input(shape, { seed: 51 }), input(other, { seed: 52 }))),
});

export const complexCases: readonly ConformanceCase[] = [
  of('Complex', '[3, 4]', (a) => a),
  of('Complex', 'empty', (a) => a, [0, 3]),
  of('Real', '[3, 4]', (a) => tf.real(a)),
  of('Imag', '[3, 4]', (a) => tf.imag(a)),
  of('ComplexAbs', '[3, 4]', (a) => tf.abs(a)),
  byParts('Add', 'broadcast', tf.add, [3, 4], [4]),
  of('Sub', 'same shapes', tf.sub),
  of('Multiply', 'broadcast', tf.mul, [2, 3, 4], [3, 1]),
  of('Reshape', '[2, 6]', (a) => tf.reshape(a, [2, 6])),
  of('Transpose', '[3, 4]', (a) => tf.transpose(a)),
  byParts('Slice', 'the middle', (a) => tf.slice(a, [1, 1], [2, 2])),
  of('Concat', 'axis 1', (a, b) => tf.concat([a, b], 1), [3, 4], [3, 2]),
  byParts('PadV2', '1 and 2', (a) => tf.pad(a, [[1, 0], [0, 2]])),
  conformanceCase('Cast', 'float32 to complex64', () => tf.cast(input([3]), 'complex64')),
  conformanceCase('Cast', 'complex64 to float32', () => tf.cast(complex([3]), 'float32')),
  ...[[2, 8], [3, 7], [1, 1]].flatMap((shape) => [
    conformanceCase('FFT', `[${shape.join(', ')}]`, () => tf.fft(complex(shape)), { tolerance: 1e-4 }),
    conformanceCase('IFFT', `[${shape.join(', ')}]`, () => tf.ifft(complex(shape)), { tolerance: 1e-4 }),
  ]),
  conformanceCase('FFT', 'of real numbers, and back', () => [tf.spectral.rfft(input([2, 8])), tf.spectral.irfft(tf.spectral.rfft(input([2, 8])))], { tolerance: 1e-4 }),
];
