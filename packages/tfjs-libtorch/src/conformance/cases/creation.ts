import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, gradientCase, input } from '../case.js';

const casts = (['float32', 'int32', 'bool'] as const).flatMap((from) =>
  (['float32', 'int32', 'bool'] as const).map((to) => conformanceCase('Cast', `${from} to ${to}`, () => tf.cast(input([3, 4], { dtype: from, low: -3, high: 3 }), to))));

export const creationCases: readonly ConformanceCase[] = [
  conformanceCase('Fill', 'float32', () => tf.fill([2, 3], 0.5)),
  conformanceCase('Fill', 'int32', () => tf.fill([2, 3], 7, 'int32')),
  conformanceCase('Fill', 'bool', () => tf.fill([2, 3], 1, 'bool')),
  conformanceCase('Fill', 'empty and scalar', () => [tf.fill([0, 3], 1), tf.fill([], 2)]),
  ...(['float32', 'int32', 'bool'] as const).flatMap((dtype) => [
    conformanceCase('ZerosLike', dtype, () => tf.zerosLike(input([2, 3], { dtype }))),
    conformanceCase('OnesLike', dtype, () => tf.onesLike(input([2, 3], { dtype }))),
    conformanceCase('Identity', dtype, () => tf.clone(input([2, 3], { dtype }))),
  ]),
  ...casts,
  gradientCase('Cast', 'float32 to float32', () => [input([3])], (x) => tf.cast(x, 'float32')),
  gradientCase('Identity', '[3]', () => [input([3])], (x) => tf.clone(x)),
  conformanceCase('Range', 'float32', () => tf.range(0.5, 3, 0.5)),
  conformanceCase('Range', 'int32, downwards', () => tf.range(9, 0, -2, 'int32')),
  conformanceCase('Range', 'downwards without a step', () => tf.range(4, 0)),
  conformanceCase('Range', 'nothing', () => tf.range(0, 4, -1)),
  conformanceCase('Range', 'from a number to itself', () => tf.range(3, 3)),
  conformanceCase('LinSpace', '7 numbers', () => tf.linspace(-1, 2, 7)),
  conformanceCase('LinSpace', 'one number', () => tf.linspace(4, 9, 1)),
  conformanceCase('Diag', 'a vector', () => tf.diag(input([4]))),
  conformanceCase('Diag', 'a matrix', () => tf.diag(input([2, 3]))),
];
