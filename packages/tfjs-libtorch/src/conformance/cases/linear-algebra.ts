import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, gradientCase, input } from '../case.js';

const ORIENTATIONS: [transposeA: boolean, transposeB: boolean][] = [[false, false], [true, false], [false, true], [true, true]];
const pair = (batch: number[], [transposeA, transposeB]: [boolean, boolean], otherBatch = batch) => [
  input([...batch, ...(transposeA ? [4, 3] : [3, 4])]), input([...otherBatch, ...(transposeB ? [5, 4] : [4, 5])], { seed: 2 }),
] as const;
const named = ([a, b]: [boolean, boolean]) => (a || b ? `, ${[a && 'a', b && 'b'].filter(Boolean).join(' and ')} transposed` : '');

const ACTIVATIONS = ['linear', 'relu', 'relu6', 'elu', 'leakyrelu', 'sigmoid', 'prelu'] as const;

export const linearAlgebraCases: readonly ConformanceCase[] = [
  ...ORIENTATIONS.flatMap((o) => [
    conformanceCase('BatchMatMul', `matrices${named(o)}`, () => tf.matMul(...pair([], o), ...o)),
    conformanceCase('BatchMatMul', `batches${named(o)}`, () => tf.matMul(...pair([2, 3], o), ...o)),
    gradientCase('BatchMatMul', `matrices${named(o)}`, () => [...pair([], o)], (a, b) => tf.matMul(a, b, ...o)),
  ]),
  conformanceCase('BatchMatMul', 'one matrix for a batch', () => tf.matMul(...pair([3], [false, false], [1]))),
  conformanceCase('BatchMatMul', 'no rows', () => tf.matMul(input([0, 4]), input([4, 5]))),
  conformanceCase('BatchMatMul', 'no columns to sum over', () => tf.matMul(input([3, 0]), input([0, 5]))),
  conformanceCase('BatchMatMul', 'odd sizes', () => tf.matMul(input([17, 129]), input([129, 31], { seed: 2 })), { tolerance: 1e-4 }),
  conformanceCase('BatchMatMul', 'NaN', () => tf.matMul(tf.tensor2d([1, Number.NaN, 3, 4], [2, 2]), input([2, 2]))),
  conformanceCase('Einsum', 'ij,jk->ik', () => tf.einsum('ij,jk->ik', input([3, 4]), input([4, 5], { seed: 2 }))),
  conformanceCase('Einsum', 'bij,bkj->bik', () => tf.einsum('bij,bkj->bik', input([2, 3, 4]), input([2, 5, 4], { seed: 2 }))),
  ...ACTIVATIONS.map((activation) => conformanceCase('_FusedMatMul', `bias, ${activation}`, () =>
    tf.fused.matMul({ a: input([3, 4]), b: input([4, 5], { seed: 2 }), bias: input([5], { seed: 3 }), activation, preluActivationWeights: input([5], { seed: 4 }), leakyreluAlpha: 0.1 }))),
  conformanceCase('_FusedMatMul', 'no bias, transposed', () => tf.fused.matMul({ a: input([4, 3]), b: input([5, 4], { seed: 2 }), transposeA: true, transposeB: true, activation: 'relu' })),
  gradientCase('_FusedMatMul', 'bias, relu', () => [input([3, 4]), input([4, 5], { seed: 2 }), input([5], { seed: 3 })], (a, b, bias) => tf.fused.matMul({ a: a, b: b, bias: bias, activation: 'relu' })),
];
