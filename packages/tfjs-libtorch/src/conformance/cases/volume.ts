import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, gradientCase, input } from '../case.js';

const TOLERANCE = { tolerance: 5e-5 };
type Triple = [number, number, number];

interface Convolution { what: string; x: number[]; filter: number[]; strides: number | Triple; pad: 'same' | 'valid'; dilations?: Triple }

const CONVOLUTIONS: Convolution[] = [
  { what: '3 x 3 x 3, same', x: [2, 4, 5, 6, 2], filter: [3, 3, 3, 2, 3], strides: 1, pad: 'same' },
  { what: '3 x 3 x 3, same, strides 2, even size: uneven padding', x: [1, 4, 6, 4, 2], filter: [3, 3, 3, 2, 2], strides: 2, pad: 'same' },
  { what: '2 x 1 x 3, valid, strides 1, 2, 1', x: [1, 5, 4, 6, 1], filter: [2, 1, 3, 1, 2], strides: [1, 2, 1], pad: 'valid' },
  { what: 'one voxel', x: [1, 1, 1, 1, 3], filter: [1, 1, 1, 3, 2], strides: 1, pad: 'valid' },
  { what: 'a window larger than the volume', x: [1, 2, 2, 2, 1], filter: [3, 3, 3, 1, 1], strides: 1, pad: 'valid' },
];

const convolutionCases = CONVOLUTIONS.flatMap((c): ConformanceCase[] => {
  const run = (x: tf.Tensor, filter: tf.Tensor) => tf.conv3d(x as tf.Tensor5D, filter as tf.Tensor5D, c.strides, c.pad);
  const inputs = () => [input(c.x), input(c.filter, { seed: 2 })] as [tf.Tensor, tf.Tensor];
  return [conformanceCase('Conv3D', c.what, () => run(...inputs()), TOLERANCE), gradientCase('Conv3D', c.what, inputs, run, TOLERANCE)];
});

const transposedCases: ConformanceCase[] = [
  conformanceCase('Conv3DBackpropInputV2', 'transposed, strides 2', () => tf.conv3dTranspose(input<tf.Tensor5D>([1, 2, 3, 2, 3]), input<tf.Tensor5D>([2, 2, 2, 2, 3], { seed: 2 }), [1, 4, 6, 4, 2], 2, 'same'), TOLERANCE),
];

interface Pooling { what: string; x: number[]; size: number | Triple; strides: number; pad: 'same' | 'valid' | number; flat?: [number, number] }

/** `flat`: the window's height and width, where its depth and the strides are 1. */
const POOLINGS: Pooling[] = [
  { what: '2 x 2 x 2, valid', x: [2, 4, 5, 6, 3], size: 2, strides: 2, pad: 'valid' },
  { what: '3 x 3 x 3, same, strides 2, even size: uneven padding', x: [1, 4, 6, 4, 2], size: 3, strides: 2, pad: 'same' },
  { what: '1 x 2 x 3, same, strides 1', x: [1, 3, 4, 5, 1], size: [1, 2, 3], strides: 1, pad: 'same', flat: [2, 3] },
  { what: '3 x 3 x 3, padding 1', x: [1, 3, 3, 4, 2], size: 3, strides: 1, pad: 1 },
  { what: 'a window larger than the volume', x: [1, 2, 2, 2, 1], size: 3, strides: 1, pad: 'valid' },
];

/** The gradient of an average as it is on tensors of a single 1: the reference's counts the padding. */
function averageGradient(shape: number[], f: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
  const places = shape.reduce((p, n) => p * n, 1), ones = tf.reshape(tf.oneHot(tf.range(0, places, 1, 'int32'), places, 1, 0, 'float32'), [places, ...shape]);
  const responses = tf.unstack(ones).map((one) => f(one)), dy = input(responses[0]!.shape, { seed: 99 });
  return tf.reshape(tf.stack(responses.map((response) => tf.sum(tf.mul(response, dy)))), shape);
}

/** The reference mistakes a window's height for its width: each layer of a window without depth is a picture of its own. */
function flatGradient([batch, depth, height, width, channels]: number[], size: [number, number], strides: number, pad: 'same' | 'valid' | number): tf.Tensor {
  const pool = (x: tf.Tensor) => tf.reshape(tf.maxPool(tf.reshape(x, [batch! * depth!, height!, width!, channels!]) as tf.Tensor4D, size, strides, pad), [batch!, depth!, -1, width!, channels!]);
  return tf.grads(pool)([input([batch!, depth!, height!, width!, channels!])], input([batch!, depth!, height!, width!, channels!], { seed: 99 }))[0]!;
}

const poolingCases = POOLINGS.flatMap((p) => (['MaxPool3D', 'AvgPool3D'] as const).flatMap((kernel): ConformanceCase[] => {
  const pool = kernel === 'MaxPool3D' ? tf.maxPool3d : tf.avgPool3d;
  const run = (x: tf.Tensor) => pool(x as tf.Tensor5D, p.size, p.strides, p.pad);
  const reference = kernel === 'AvgPool3D' ? { reference: () => averageGradient(p.x, run) } : p.flat ? { reference: () => flatGradient(p.x, p.flat!, p.strides, p.pad) } : {};
  return [conformanceCase(kernel, p.what, () => run(input(p.x, { low: -5, high: -1 }))), gradientCase(kernel, p.what, () => [input(p.x)], run, reference)];
}));

export const volumeCases: readonly ConformanceCase[] = [...convolutionCases, ...transposedCases, ...poolingCases];
