import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, gradientCase, input } from '../case.js';

/** Kernels whose result depends on what the values are: which boxes stay, which rows there are, where a value stands. */

const BOXES = [0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, -0.1, 1, 0.9, 0, 10, 1, 11, 0, 10.1, 1, 11.1, 0, 100, 1, 101];
const boxes = () => tf.tensor2d(BOXES, [6, 4]), scores = () => tf.tensor1d([0.9, 0.75, 0.6, 0.95, 0.5, 0.3]);

const suppression: ConformanceCase[] = [
  ...[1, 3, 30].map((most) => conformanceCase('NonMaxSuppressionV3', `${most} at most`, () => tf.image.nonMaxSuppression(boxes(), scores(), most, 0.5))),
  conformanceCase('NonMaxSuppressionV3', 'a threshold that nothing passes', () => tf.image.nonMaxSuppression(boxes(), scores(), 3, 0.5, 2)),
  ...[false, true].map((padded) => conformanceCase('NonMaxSuppressionV4', padded ? 'padded' : 'not padded', () => {
    const { selectedIndices, validOutputs } = tf.image.nonMaxSuppressionPadded(boxes(), scores(), 5, 0.5, 0, padded);
    return [selectedIndices, validOutputs] as tf.Tensor[];
  })),
  conformanceCase('NonMaxSuppressionV5', 'soft', () => {
    const { selectedIndices, selectedScores } = tf.image.nonMaxSuppressionWithScore(boxes(), scores(), 6, 1, 0.2, 0.5);
    return [selectedIndices, selectedScores] as tf.Tensor[];
  }),
];

const both = ({ values, indices }: { values: tf.Tensor; indices: tf.Tensor }) => [values, indices];
const counting: ConformanceCase[] = [
  conformanceCase('Unique', 'int32', () => both(tf.unique(tf.tensor1d([4, 2, 4, 7, 2], 'int32')))),
  conformanceCase('Unique', 'rows', () => both(tf.unique(tf.tensor2d([1, 2, 3, 4, 1, 2], [3, 2]), 0))),
  conformanceCase('Unique', 'nothing', () => both(tf.unique(tf.tensor1d([])))),
  conformanceCase('Bincount', 'counts', () => tf.bincount(tf.tensor1d([1, 1, 5, 0, 9], 'int32'), tf.tensor1d([]), 6)),
  conformanceCase('Bincount', 'weights', () => tf.bincount(tf.tensor1d([1, 1, 2], 'int32'), tf.tensor1d([0.5, 2, 3]), 4)),
  conformanceCase('DenseBincount', 'counts of rows', () => tf.denseBincount(tf.tensor2d([1, 1, 2, 0, 3, 3], [2, 3], 'int32'), tf.tensor1d([]) as never, 4)),
  conformanceCase('DenseBincount', 'whether there is one', () => tf.denseBincount(tf.tensor1d([1, 1, 3], 'int32'), tf.tensor1d([]), 4, true)),
  ...(['left', 'right'] as const).map((side) => conformanceCase('SearchSorted', side, () => tf.searchSorted(tf.tensor2d([0, 1, 1, 5, 2, 3, 4, 9], [2, 4]), tf.tensor2d([1, 6, 0, 4], [2, 2]), side))),
  conformanceCase('Multinomial', 'the same numbers of the same seed', () => tf.multinomial(input([3, 5]) as tf.Tensor2D, 20, 7)),
  conformanceCase('Multinomial', 'probabilities', () => tf.multinomial(tf.tensor1d([0.1, 0.6, 0.3]), 20, 3, true)),
  conformanceCase('BroadcastArgs', '[2, 1] and [3]', () => tf.broadcastArgs(tf.tensor1d([2, 1], 'int32'), tf.tensor1d([3], 'int32'))),
];

const sparse: ConformanceCase[] = [
  conformanceCase('SparseToDense', 'places of a matrix', () => tf.sparseToDense(tf.tensor2d([0, 1, 2, 0], [2, 2], 'int32'), tf.tensor1d([5, 6]), [3, 2], tf.scalar(-1))),
  conformanceCase('SparseToDense', 'one value for all, int32', () => tf.sparseToDense(tf.tensor1d([0, 3], 'int32'), tf.scalar(4, 'int32'), [5], tf.scalar(0, 'int32'))),
  conformanceCase('SparseToDense', 'bool', () => tf.sparseToDense(tf.tensor1d([1], 'int32'), tf.tensor1d([true], 'bool'), [3], tf.scalar(false, 'bool'))),
  conformanceCase('SparseFillEmptyRows', 'two rows filled', () =>
    Object.values(tf.sparse.sparseFillEmptyRows(tf.tensor2d([0, 0, 2, 1], [2, 2], 'int32'), tf.tensor1d([7, 8]), tf.tensor1d([4, 3], 'int32'), -1))),
  conformanceCase('SparseReshape', '[2, 6] to [4, 3]', () => Object.values(tf.sparse.sparseReshape(tf.tensor2d([0, 1, 1, 5], [2, 2], 'int32'), tf.tensor1d([2, 6], 'int32'), tf.tensor1d([-1, 3], 'int32')))),
  conformanceCase('SparseSegmentSum', 'rows, a segment empty', () => tf.sparse.sparseSegmentSum(input([4, 3]), tf.tensor1d([0, 1, 3], 'int32'), tf.tensor1d([0, 0, 2], 'int32'))),
  conformanceCase('SparseSegmentMean', 'rows', () => tf.sparse.sparseSegmentMean(input([4, 3]), tf.tensor1d([0, 1, 3], 'int32'), tf.tensor1d([0, 0, 1], 'int32'))),
];

const ragged: ConformanceCase[] = [
  conformanceCase('RaggedRange', 'three ranges', () => Object.values(tf.raggedRange(tf.tensor1d([0, 5, 8]), tf.tensor1d([8, 7, 8]), tf.tensor1d([2, 1, 1])))),
  conformanceCase('RaggedGather', 'two rows', () => {
    const { outputNestedSplits, outputDenseValues } = tf.raggedGather([tf.tensor1d([0, 3, 3, 7, 9], 'int32')], tf.range(0.1, 1, 0.1), tf.tensor1d([2, 1, 0, 3], 'int32'), 1);
    return [...outputNestedSplits, outputDenseValues];
  }),
  conformanceCase('RaggedTensorToTensor', 'rows of other lengths', () =>
    tf.raggedTensorToTensor(tf.tensor1d([4, 4], 'int32'), input([9]), tf.scalar(1.5), [tf.scalar(4, 'int32'), tf.tensor1d([0, 0, 0, 2, 2, 2, 2, 3, 3], 'int32')], ['FIRST_DIM_SIZE', 'VALUE_ROWIDS'])),
];

const dilation = (x: tf.Tensor, filter: tf.Tensor) => tf.dilation2d(x as tf.Tensor4D, filter as tf.Tensor3D, [1, 1], 'same', [1, 1]);
const morphology: ConformanceCase[] = [
  conformanceCase('Dilation2D', '2 x 2', () => dilation(input([1, 4, 5, 2]), input([2, 2, 2], { seed: 2 }))),
  gradientCase('Dilation2D', '2 x 2', () => [input([1, 4, 5, 2]), input([2, 2, 2], { seed: 2 })], dilation),
];

export const selectionCases: readonly ConformanceCase[] = [...suppression, ...counting, ...sparse, ...ragged, ...morphology];
