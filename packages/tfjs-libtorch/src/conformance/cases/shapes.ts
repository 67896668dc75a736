import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, gradientCase, input } from '../case.js';

const DTYPES = ['float32', 'int32', 'bool'] as const;

/** Each case in every dtype: these kernels move values and compute nothing. */
const moved = (kernel: string, what: string, shape: number[], f: (x: tf.Tensor) => tf.Tensor | tf.Tensor[]): ConformanceCase[] =>
  DTYPES.map((dtype) => conformanceCase(kernel, `${what}, ${dtype}`, () => f(input(shape, { dtype, low: -9, high: 9 }))));

const moving: ConformanceCase[] = [
  ...moved('Reshape', '[3, 4] to [2, -1]', [3, 4], (x) => tf.reshape(x, [2, -1])),
  ...moved('Reshape', 'a transposed tensor', [3, 4], (x) => tf.reshape(tf.transpose(x), [12])),
  ...moved('Reshape', 'empty', [0, 4], (x) => tf.reshape(x, [4, 0])),
  ...moved('ExpandDims', 'axis -1', [3, 4], (x) => tf.expandDims(x, -1)),
  ...moved('Transpose', '[2, 3, 4] by 2, 0, 1', [2, 3, 4], (x) => tf.transpose(x, [2, 0, 1])),
  ...moved('Transpose', 'all axes turned', [2, 3, 4, 5], (x) => tf.transpose(x)),
  ...moved('Tile', '[2, 3] by 2, 3', [2, 3], (x) => tf.tile(x, [2, 3])),
  ...moved('Slice', 'the middle', [4, 5, 3], (x) => tf.slice(x, [1, 2, 0], [2, -1, 2])),
  ...moved('Slice', 'nothing', [4, 5], (x) => tf.slice(x, [4, 0], [0, 5])),
  ...moved('StridedSlice', 'every other, from the end', [7, 5], (x) => tf.stridedSlice(x, [-1, 0], [-8, 5], [-2, 2], 0, 0)),
  ...moved('StridedSlice', 'a new axis and a shrunk one', [4, 5], (x) => tf.stridedSlice(x, [0, 1, 2], [1, 3, 3], [1, 1, 1], 0, 0, 0, 1, 4)),
  ...moved('StridedSlice', 'all by masks', [4, 5], (x) => tf.stridedSlice(x, [0, 0], [0, 0], [1, 1], 3, 3)),
  ...moved('Concat', 'axis -1', [2, 3], (x) => tf.concat([x, tf.slice(x, [0, 0], [2, 1]), x], -1)),
  ...moved('Concat', 'with an empty one', [2, 3], (x) => tf.concat([x, tf.slice(x, [0, 0], [0, 3])], 0)),
  ...moved('Pack', 'axis 1', [2, 3], (x) => tf.stack([x, x, x], 1)),
  ...moved('Unpack', 'axis -1', [2, 3], (x) => tf.unstack(x, -1)),
  ...moved('SplitV', 'three equal parts', [2, 6], (x) => tf.split(x, 3, 1)),
  ...moved('SplitV', 'given sizes, one open', [7, 2], (x) => tf.split(x, [2, -1, 1], 0)),
  ...moved('Reverse', 'both axes', [3, 4], (x) => tf.reverse(x, [0, -1])),
  ...moved('GatherV2', 'axis 1, rank-2 positions', [3, 5, 2], (x) => tf.gather(x, tf.tensor2d([4, 0, 0, 2], [2, 2], 'int32'), 1)),
  ...moved('GatherV2', 'no positions', [3, 5], (x) => tf.gather(x, tf.tensor1d([], 'int32'), 1)),
  ...moved('GatherV2', 'one batch axis', [2, 5, 3], (x) => tf.gather(x, tf.tensor2d([4, 0, 1, 2], [2, 2], 'int32'), 1, 1)),
  ...moved('GatherV2', 'one batch axis and one between', [2, 3, 5], (x) => tf.gather(x, tf.tensor2d([4, 0, 1, 2, 2, 2], [2, 3], 'int32'), 2, 1)),
  ...moved('GatherNd', 'whole positions', [3, 4], (x) => tf.gatherND(x, tf.tensor2d([0, 1, 2, 3, 1, 1], [3, 2], 'int32'))),
  ...moved('GatherNd', 'rows', [3, 4], (x) => tf.gatherND(x, tf.tensor2d([2, 0], [2, 1], 'int32'))),
  ...moved('SpaceToBatchND', '2 by 2 with padding', [1, 3, 4, 2], (x) => tf.spaceToBatchND(x, [2, 2], [[0, 1], [2, 0]])),
  ...moved('BatchToSpaceND', '2 by 2 with crops', [4, 2, 3, 2], (x) => tf.batchToSpaceND(x, [2, 2], [[0, 1], [1, 0]])),
  conformanceCase('DepthToSpace', 'blocks of 2', () => tf.depthToSpace(input<tf.Tensor4D>([1, 2, 3, 8]), 2)),
  conformanceCase('FlipLeftRight', '[2, 3, 4, 1]', () => tf.image.flipLeftRight(input<tf.Tensor4D>([2, 3, 4, 1]))),
  // The reference refuses a slice of nothing.
  conformanceCase('StridedSlice', 'nothing', () => tf.stridedSlice(input([4, 5]), [3, 0], [1, 5], [1, 1]), { reference: () => tf.zeros([0, 5]) }),
  ...(['reflect', 'symmetric'] as const).flatMap((mode) => moved('MirrorPad', mode, [3, 4], (x) => tf.mirrorPad(x, [[2, 1], [0, 2]], mode))),
];

const gradients: ConformanceCase[] = [
  gradientCase('Reshape', '[2, 6]', () => [input([2, 6])], (x) => tf.reshape(x, [3, 4])),
  gradientCase('ExpandDims', '[2, 3]', () => [input([2, 3])], (x) => tf.expandDims(x, 1)),
  gradientCase('Transpose', '[2, 3, 4]', () => [input([2, 3, 4])], (x) => tf.transpose(x, [1, 2, 0])),
  gradientCase('Tile', '[2, 3]', () => [input([2, 3])], (x) => tf.tile(x, [2, 2])),
  gradientCase('Slice', '[4, 5]', () => [input([4, 5])], (x) => tf.slice(x, [1, 1], [2, 3])),
  gradientCase('Concat', 'axis 1', () => [input([2, 3]), input([2, 2], { seed: 2 })], (a, b) => tf.concat([a, b], 1)),
  gradientCase('Pack', 'axis 0', () => [input([2, 3]), input([2, 3], { seed: 2 })], (a, b) => tf.stack([a, b])),
  gradientCase('Unpack', 'axis 1', () => [input([2, 3])], (x) => tf.mul(tf.unstack(x, 1)[0]!, tf.unstack(x, 1)[2]!)),
  gradientCase('SplitV', 'axis 1', () => [input([2, 6])], (x) => { const [a, b] = tf.split(x, 2, 1); return tf.mul(a!, b!); }),
  gradientCase('Reverse', 'axis 1', () => [input([2, 3])], (x) => tf.reverse(x, 1)),
  gradientCase('GatherV2', 'rows, one twice', () => [input([4, 3])], (x) => tf.gather(x, tf.tensor1d([3, 0, 3], 'int32'))),
  gradientCase('UnsortedSegmentSum', 'rows', () => [input([4, 3])], (x) => tf.unsortedSegmentSum(x, tf.tensor1d([0, 2, 0, 3], 'int32'), 4)),
  gradientCase('PadV2', '[2, 3]', () => [input([2, 3])], (x) => tf.pad(x, [[1, 0], [0, 2]])),
  gradientCase('MirrorPad', '[3, 4]', () => [input([3, 4])], (x) => tf.mirrorPad(x, [[0, 0], [0, 0]], 'reflect')),
  gradientCase('SpaceToBatchND', '2 by 2', () => [input([1, 4, 4, 1])], (x) => tf.spaceToBatchND(x, [2, 2], [[0, 0], [0, 0]])),
  gradientCase('BatchToSpaceND', '2 by 2', () => [input([4, 2, 2, 1])], (x) => tf.batchToSpaceND(x, [2, 2], [[0, 0], [0, 0]])),
];

const padding: ConformanceCase[] = [
  ...(['float32', 'int32'] as const).map((dtype) => conformanceCase('PadV2', `with 7, ${dtype}`, () => tf.pad(input([2, 3], { dtype }), [[1, 2], [0, 1]], 7))),
  conformanceCase('PadV2', 'bool', () => tf.pad(input([2, 3], { dtype: 'bool' }), [[1, 0], [0, 1]], 0)),
  conformanceCase('PadV2', 'empty', () => tf.pad(input([0, 3]), [[1, 1], [0, 0]], 2)),
];

const writing: ConformanceCase[] = [
  conformanceCase('ScatterNd', 'places of a matrix, one twice', () => tf.scatterND(tf.tensor2d([0, 1, 2, 3, 0, 1], [3, 2], 'int32'), tf.tensor1d([5, 6, 7]), [3, 4])),
  conformanceCase('ScatterNd', 'rows, int32', () => tf.scatterND(tf.tensor2d([2, 0], [2, 1], 'int32'), tf.tensor2d([1, 2, 3, 4], [2, 2], 'int32'), [3, 2])),
  conformanceCase('TensorScatterUpdate', 'rows', () => tf.tensorScatterUpdate(input([3, 2]), tf.tensor2d([2, 0], [2, 1], 'int32'), tf.tensor2d([1, 2, 3, 4], [2, 2]))),
  conformanceCase('UnsortedSegmentSum', 'rows, one segment empty', () => tf.unsortedSegmentSum(input([4, 3]), tf.tensor1d([0, 2, 0, 3], 'int32'), 4)),
  conformanceCase('UnsortedSegmentSum', 'int32, segments that are not there', () => tf.unsortedSegmentSum(input([4], { dtype: 'int32' }), tf.tensor1d([0, -1, 5, 1], 'int32'), 2), { reference: () => tf.gather(input([4], { dtype: 'int32' }), tf.tensor1d([0, 3], 'int32')) }),
  conformanceCase('OneHot', '[2, 2] of 4', () => tf.oneHot(tf.tensor2d([0, 3, 1, 2], [2, 2], 'int32'), 4)),
  conformanceCase('OneHot', 'own values, one outside', () => tf.oneHot(tf.tensor1d([0, 7, -1], 'int32'), 3, 5, -2)),
];

export const shapeCases: readonly ConformanceCase[] = [...moving, ...gradients, ...padding, ...writing];
