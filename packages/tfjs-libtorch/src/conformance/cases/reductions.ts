import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, SPECIAL, conformanceCase, gradientCase, input } from '../case.js';

type Reduction = (x: tf.Tensor, axis?: number | number[], keepDims?: boolean) => tf.Tensor;

const NUMBERS: [kernel: string, f: Reduction, empty: boolean][] = [['Sum', tf.sum, true], ['Mean', tf.mean, false], ['Max', tf.max, false], ['Min', tf.min, false], ['Prod', tf.prod, true]];

const AXES: [what: string, axis: number | number[] | undefined, keepDims: boolean][] = [
  ['all axes', undefined, false], ['axis 0', 0, false], ['the last axis as -1', -1, true], ['axes 0 and 2', [0, 2], false], ['axes -1 and 0, kept', [-1, 0], true], ['no axis', [], false],
];

const numberCases = ([kernel, f, empty]: (typeof NUMBERS)[number]): ConformanceCase[] => [
  ...AXES.map(([what, axis, keepDims]) => conformanceCase(kernel, `[3, 4, 5], ${what}`, () => f(input([3, 4, 5]), axis, keepDims))),
  conformanceCase(kernel, 'scalar', () => f(tf.scalar(3))),
  conformanceCase(kernel, 'int32', () => f(input([3, 4], { dtype: 'int32', low: 1, high: 4 }), 1)),
  conformanceCase(kernel, 'NaN', () => f(tf.tensor2d([1, Number.NaN, 3, 4, 5, 6], [2, 3]), 1)),
  conformanceCase(kernel, 'infinities', () => f(tf.tensor2d([1, Infinity, 3, 4, 5, -Infinity], [2, 3]), 1)),
  conformanceCase(kernel, 'a kept axis of no length', () => f(input([0, 4]), 1)),
  ...(empty ? [conformanceCase(kernel, 'over nothing', () => f(input([3, 0]), 1))] : []),
  gradientCase(kernel, '[3, 4], all axes', () => [input([3, 4])], (x) => f(x)),
  gradientCase(kernel, '[3, 4, 2], axis 1', () => [input([3, 4, 2])], (x) => f(x, 1)),
];

const flagCases = ([kernel, f]: [string, Reduction]): ConformanceCase[] => [
  ...AXES.slice(0, 5).map(([what, axis, keepDims]) => conformanceCase(kernel, `[3, 2, 2], ${what}`, () => f(input([3, 2, 2], { dtype: 'bool' }), axis, keepDims))),
  // The reference says false for `all` of nothing.
  conformanceCase(kernel, 'over nothing', () => f(input([3, 0], { dtype: 'bool' }), 1), { reference: () => tf.fill([3], kernel === 'All' ? 1 : 0, 'bool') }),
];

const placeCases = ([kernel, f]: [string, (x: tf.Tensor, axis?: number) => tf.Tensor]): ConformanceCase[] => [
  ...[0, 1, -1].map((axis) => conformanceCase(kernel, `[3, 4, 5], axis ${axis}`, () => f(input([3, 4, 5]), axis))),
  conformanceCase(kernel, 'the first of equals', () => f(tf.tensor2d([2, 5, 5, 1, 1, 5, 5, 5], [2, 4]), 1)),
  conformanceCase(kernel, 'int32', () => f(input([3, 4], { dtype: 'int32', low: -9, high: 9 }), 0)),
];

const others: ConformanceCase[] = [
  conformanceCase('Sum', 'bool', () => tf.sum(input([3, 4], { dtype: 'bool' }), 0)),
  conformanceCase('Sum', 'int32, all', () => tf.sum(input([30, 40], { dtype: 'int32', low: -900, high: 900 }))),
  conformanceCase('Mean', 'bool', () => tf.mean(input([3, 4], { dtype: 'bool' }), 0)),
  conformanceCase('Softmax', '[3, 5]', () => tf.softmax(input([3, 5], { low: -9, high: 9 }))),
  conformanceCase('Softmax', 'a large value', () => tf.softmax(tf.tensor2d([1000, 0, -1000, 1, 2, 3], [2, 3]))),
  conformanceCase('LogSoftmax', '[2, 3, 5]', () => tf.logSoftmax(input([2, 3, 5], { low: -9, high: 9 }))),
  conformanceCase('LogSoftmax', 'a large value', () => tf.logSoftmax(tf.tensor2d([1000, 0, -1000, 1, 2, 3], [2, 3]))),
  // tf.logSoftmax composes other kernels.
  conformanceCase('LogSoftmax', 'by its name', () => tf.engine().runKernel('LogSoftmax', { logits: input([2, 3, 5], { low: -9, high: 9 }) }, { axis: -1 }), { reference: () => tf.logSoftmax(input([2, 3, 5], { low: -9, high: 9 })) }),
  gradientCase('Softmax', '[3, 5]', () => [input([3, 5])], (x) => tf.softmax(x)),
  gradientCase('LogSoftmax', '[3, 5]', () => [input([3, 5])], (x) => tf.logSoftmax(x)),
  ...(['Cumsum', 'Cumprod'] as const).flatMap((kernel) => {
    const f = kernel === 'Cumsum' ? tf.cumsum : tf.cumprod;
    const options: [exclusive: boolean, reverse: boolean][] = [[false, false], [true, false], [false, true], [true, true]];
    return [
      ...options.flatMap(([exclusive, reverse]) => [0, 1, 2].map((axis) => conformanceCase(kernel, `[2, 3, 4], axis ${axis}${exclusive ? ', exclusive' : ''}${reverse ? ', reverse' : ''}`, () => f(input([2, 3, 4]), axis, exclusive, reverse)))),
      conformanceCase(kernel, 'int32', () => f(input([2, 5], { dtype: 'int32', low: 1, high: 4 }), 1)),
      conformanceCase(kernel, 'empty', () => f(input([2, 0]), 1, true)),
    ];
  }),
  gradientCase('Cumsum', '[2, 3], exclusive', () => [input([2, 3])], (x) => tf.cumsum(x, 1, true)),
  ...[1, 3, 5].map((k) => conformanceCase('TopK', `k ${k} of [2, 3, 5]`, () => Object.values(tf.topk(input([2, 3, 5]), k)))),
  conformanceCase('TopK', 'the first of equals', () => Object.values(tf.topk(tf.tensor1d([1, 3, 3, 2, 3, 0]), 4))),
  conformanceCase('TopK', 'int32', () => Object.values(tf.topk(input([2, 9], { dtype: 'int32', low: -3, high: 3 }), 6))),
  conformanceCase('Max', 'special values', () => tf.max(tf.tensor1d(SPECIAL.slice(1)))),
];

export const reductionCases: readonly ConformanceCase[] = [
  ...NUMBERS.flatMap(numberCases),
  ...([['All', tf.all], ['Any', tf.any]] as [string, Reduction][]).flatMap(flagCases),
  ...([['ArgMax', tf.argMax], ['ArgMin', tf.argMin]] as [string, (x: tf.Tensor, axis?: number) => tf.Tensor][]).flatMap(placeCases),
  ...others,
];
