import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, gradientCase, input } from '../case.js';

const picture = (shape: [number, number, number, number], seed = 1) => input<tf.Tensor4D>(shape, { seed, low: 0, high: 255 });

/** Whole pictures, parts, turned about, beyond the edges, and of no size. */
const BOXES = tf.util.flatten([[0, 0, 1, 1], [0.1, 0.2, 0.8, 0.55], [0.9, 0.7, 0.2, 0.1], [-0.3, -0.1, 1.2, 1.4], [0.5, 0.5, 0.5, 0.5]]) as number[];
const crops = (['bilinear', 'nearest'] as const).flatMap((method) => ([[4, 5], [1, 1], [9, 3]] as [number, number][]).map((size) =>
  conformanceCase('CropAndResize', `${method}, to ${size.join(' x ')}`, () =>
    tf.image.cropAndResize(picture([2, 6, 7, 3]), tf.tensor2d(BOXES, [5, 4]), tf.tensor1d([0, 1, 1, 0, 1], 'int32'), size, method, -1), { tolerance: 1e-4 })));

const TRANSFORMS: [what: string, values: number[]][] = [
  ['as it is', [1, 0, 0, 0, 1, 0, 0, 0]], ['moved', [1, 0, 1.5, 0, 1, -2.25, 0, 0]], ['turned and sheared', [0.8, -0.6, 2, 0.6, 0.9, -1, 0, 0]], ['in perspective', [1.1, 0.1, -1, 0.2, 0.9, 1, 0.02, 0.01]],
];
const transforms = TRANSFORMS.flatMap(([what, values]) => (['constant', 'reflect', 'wrap', 'nearest'] as const).flatMap((mode) => (['nearest', 'bilinear'] as const).map((method) =>
  conformanceCase('Transform', `${what}, ${method}, ${mode}`, () => tf.image.transform(picture([1, 5, 6, 2]), tf.tensor2d(values, [1, 8]), method, mode, 7), { tolerance: 1e-4 }))));

const others: ConformanceCase[] = [
  conformanceCase('CropAndResize', 'no boxes', () => tf.image.cropAndResize(picture([1, 4, 4, 1]), tf.zeros([0, 4]), tf.tensor1d([], 'int32'), [2, 2])),
  conformanceCase('Transform', 'another size', () => tf.image.transform(picture([1, 5, 6, 2]), tf.tensor2d([0.5, 0, 0, 0, 0.5, 0, 0, 0], [1, 8]), 'bilinear', 'constant', 0, [9, 11]), { tolerance: 1e-4 }),
  // The reference leaves out all pictures after the first.
  conformanceCase('Transform', 'a transform for each picture', () => tf.image.transform(picture([2, 4, 4, 1]), tf.tensor2d([...TRANSFORMS[1]![1], ...TRANSFORMS[2]![1]], [2, 8])), {
    reference: () => tf.concat([0, 1].map((i) => tf.image.transform(tf.slice(picture([2, 4, 4, 1]), [i, 0, 0, 0], [1, 4, 4, 1]), tf.tensor2d(TRANSFORMS[i + 1]![1], [1, 8])))),
  }),
  conformanceCase('RotateWithOffset', 'by 0.7', () => tf.image.rotateWithOffset(picture([2, 5, 6, 3]), 0.7, 3)),
  conformanceCase('RotateWithOffset', 'backwards, around a corner, a colour for what is new', () => tf.image.rotateWithOffset(picture([1, 6, 5, 4]), -2, [10, 20, 30], [0, 1])),
  ...([[5, 1, 1, 0.5], [1, 2, 0.3, 0.75], [0, 1, 1, 1], [9, 0.5, 2, 1.5]] as const).flatMap(([radius, bias, alpha, beta]): ConformanceCase[] => {
    const run = (x: tf.Tensor) => tf.localResponseNormalization(x as tf.Tensor4D, radius, bias, alpha, beta);
    return [conformanceCase('LRN', `radius ${radius}`, () => run(input([2, 3, 4, 7]))), gradientCase('LRN', `radius ${radius}`, () => [input([2, 3, 4, 7])], run, { tolerance: 1e-4 })];
  }),
  ...[false, true].map((batches) => conformanceCase('MaxPoolWithArgmax', `positions in the ${batches ? 'batch' : 'picture'}`, () => {
    const { result, indexes } = tf.maxPoolWithArgmax(input<tf.Tensor4D>([2, 6, 7, 3]), 3, 2, 'same', batches);
    return [result, indexes] as tf.Tensor[];
  })),
];

export const pictureCases: readonly ConformanceCase[] = [...crops, ...transforms, ...others];
