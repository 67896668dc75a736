import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, input, numbers } from '../case.js';

/** The nearest number with 8 bits of mantissa, of two equally near the even one. */
function rounded(value: number): number {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer) as unknown as [number];
  const near = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(Uint32Array.of(near).buffer)[0]!;
}

const toBfloat16 = (x: tf.Tensor): tf.Tensor => tf.engine().runKernel('ToPrecision', { x }, { precision: 'bfloat16' });
const exact = (shape: number[], seed: number): tf.Tensor => tf.tensor(numbers(shape.reduce((p, n) => p * n, 1), seed).map(rounded), shape);

/** Two roundings of 2^-8 each, of values up to about 4. */
const TOLERANCE = 2e-2;

/** The same operator on activations in bfloat16 and, on the reference, on the same numbers in float32. */
const narrow = (kernel: string, what: string, shapes: number[][], f: (...x: tf.Tensor[]) => tf.Tensor, tolerance = TOLERANCE): ConformanceCase => {
  const make = () => shapes.map((shape, i) => exact(shape, 40 + i));
  return conformanceCase(kernel, `bfloat16, ${what}`, () => f(...make().map(toBfloat16)), { tolerance, reference: () => f(...make()) });
};

const four = (x: tf.Tensor) => x as tf.Tensor4D;
const SHAPE = [2, 6, 6, 8];

export const bfloat16Cases: readonly ConformanceCase[] = [
  conformanceCase('ToPrecision', 'to bfloat16', () => toBfloat16(input([40], { low: -100, high: 100 })), { tolerance: 0, reference: () => tf.tensor1d(numbers(40, 1, -100, 100).map(rounded)) }),
  conformanceCase('ToPrecision', 'to bfloat16 and back', () => tf.engine().runKernel('ToPrecision', { x: toBfloat16(exact([6], 1)) }, { precision: 'float32' }), { tolerance: 0, reference: () => exact([6], 1) }),
  narrow('Add', 'broadcast', [SHAPE, [8]], (a, b) => tf.add(a, b)),
  narrow('Multiply', 'same shapes', [SHAPE, SHAPE], (a, b) => tf.mul(a, b)),
  narrow('Relu', 'activations', [SHAPE], (x) => tf.relu(x), 0),
  narrow('Concat', 'activations', [SHAPE, SHAPE], (a, b) => tf.concat([a, b], 3), 0),
  narrow('Transpose', 'activations', [SHAPE], (x) => tf.transpose(x, [0, 3, 1, 2]), 0),
  narrow('PadV2', 'activations', [SHAPE], (x) => tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 0),
  narrow('MaxPool', '3 x 3', [SHAPE], (x) => tf.maxPool(four(x), 3, 2, 1), 0),
  narrow('MaxPoolGrad', '3 x 3', [SHAPE, [2, 3, 3, 8]], (x, dy) => tf.engine().runKernel('MaxPoolGrad', { dy, input: x, output: x }, { filterSize: 3, strides: 2, pad: 1 })),
  narrow('AvgPool', '3 x 3, uneven padding', [SHAPE], (x) => tf.avgPool(four(x), 3, 2, 'same')),
  narrow('Mean', 'of each channel', [SHAPE], (x) => tf.mean(x, [1, 2])),
  narrow('Sum', 'of each channel', [SHAPE], (x) => tf.sum(x, [1, 2])),
  narrow('BatchMatMul', 'matrices', [[5, 7], [7, 3]], (a, b) => tf.matMul(a, b)),
  narrow('Softmax', 'rows, in float32', [[5, 7]], (x) => tf.softmax(x), 1e-6),
  narrow('Conv2D', '3 x 3', [SHAPE, [3, 3, 8, 4]], (x, filter) => tf.conv2d(four(x), four(filter), 1, 1)),
  narrow('Conv2D', '3 x 3, uneven padding', [SHAPE, [3, 3, 8, 4]], (x, filter) => tf.conv2d(four(x), four(filter), 2, 'same')),
  narrow('Conv2DBackpropInput', '3 x 3', [[2, 6, 6, 4], [3, 3, 8, 4]], (dy, filter) => tf.conv2dTranspose(four(dy), four(filter), [2, 6, 6, 8], 1, 1)),
  narrow('Conv2DBackpropFilter', '3 x 3', [SHAPE, [2, 6, 6, 4]], (x, dy) => tf.engine().runKernel('Conv2DBackpropFilter', { x: x, dy: dy }, { strides: 1, pad: 1, dataFormat: 'NHWC', filterShape: [3, 3, 8, 4] })),
  narrow('Conv3D', '3 x 3 x 3', [[1, 4, 4, 4, 2], [3, 3, 3, 2, 3]], (x, filter) => tf.conv3d(x as tf.Tensor5D, filter as tf.Tensor5D, 1, 'same')),
  narrow('AvgPool3D', '2 x 2 x 2', [[1, 4, 4, 4, 2]], (x) => tf.avgPool3d(x as tf.Tensor5D, 2, 2, 'valid')),
  narrow('LRN', 'radius 2', [SHAPE], (x) => tf.localResponseNormalization(four(x), 2)),
  narrow('CropAndResize', 'bilinear', [SHAPE], (x) => tf.image.cropAndResize(four(x), tf.tensor2d([0.1, 0.2, 0.9, 0.7], [1, 4]), tf.tensor1d([1], 'int32'), [3, 3])),
  narrow('ArgMax', 'rows', [[5, 7]], (x) => tf.argMax(x, 1), 0),
  conformanceCase('FusedConv2D', 'bfloat16, bias and ReLU', () => tf.fused.conv2d({ x: four(toBfloat16(exact(SHAPE, 1))), filter: four(exact([3, 3, 8, 4], 2)), bias: exact([4], 3), strides: 1, pad: 1, activation: 'relu' }), {
    tolerance: TOLERANCE, reference: () => tf.relu(tf.add(tf.conv2d(four(exact(SHAPE, 1)), four(exact([3, 3, 8, 4], 2)), 1, 1), exact([4], 3))),
  }),
];
