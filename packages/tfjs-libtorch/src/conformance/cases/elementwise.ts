import * as tf from '@tensorflow/tfjs-core';
import { type CaseOptions, type ConformanceCase, SPECIAL, conformanceCase, gradientCase, input } from '../case.js';

type Unary = (x: tf.Tensor) => tf.Tensor;
type Binary = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

interface UnaryRow extends CaseOptions {
  /** Where the function is defined and smooth. */
  domain?: [low: number, high: number];
  /** Whether TF.js gives it int32 and bool tensors as they are. */
  integers?: boolean;
  /** Whether the reference agrees with IEEE's on NaN, infinities and signed zeros. */
  special?: boolean;
  gradient?: boolean;
}

const UNARY: [kernel: string, f: Unary, row?: UnaryRow][] = [
  ['Abs', tf.abs, { integers: true }],
  ['Acos', tf.acos, { domain: [-0.9, 0.9] }],
  ['Acosh', tf.acosh, { domain: [1.1, 5] }],
  ['Asin', tf.asin, { domain: [-0.9, 0.9] }],
  ['Asinh', tf.asinh, { special: false }],
  ['Atan', tf.atan],
  ['Atanh', tf.atanh, { domain: [-0.9, 0.9] }],
  ['Ceil', tf.ceil],
  ['Cos', tf.cos, { special: false }],
  ['Cosh', tf.cosh],
  ['Elu', tf.elu, { special: false }],
  ['Erf', tf.erf],
  ['Exp', tf.exp],
  ['Expm1', tf.expm1],
  ['Floor', tf.floor],
  ['IsFinite', tf.isFinite, { gradient: false }],
  ['IsInf', tf.isInf, { gradient: false }],
  ['IsNan', tf.isNaN, { gradient: false }],
  ['Log', tf.log, { domain: [0.1, 5] }],
  ['Log1p', tf.log1p, { domain: [-0.5, 5] }],
  ['Neg', tf.neg, { integers: true }],
  ['Reciprocal', tf.reciprocal, { domain: [0.2, 3] }],
  ['Relu', tf.relu, { integers: true }],
  ['Relu6', tf.relu6, { domain: [-3, 9] }],
  ['LeakyRelu', (x) => tf.leakyRelu(x, 0.1)],
  ['Round', tf.round, { integers: true }],
  ['Rsqrt', tf.rsqrt, { domain: [0.2, 5] }],
  ['Selu', tf.selu, { special: false }],
  ['Sigmoid', tf.sigmoid],
  ['Sign', tf.sign, { integers: true }],
  ['Sin', tf.sin, { special: false }],
  ['Sinh', tf.sinh],
  ['Softplus', tf.softplus, { domain: [-30, 30] }],
  ['Sqrt', tf.sqrt, { domain: [0.1, 5] }],
  ['Square', tf.square, { integers: true }],
  ['Step', (x) => tf.step(x, 0.3)],
  ['Tan', tf.tan, { domain: [-1.3, 1.3], special: false }],
  ['Tanh', tf.tanh],
  ['ClipByValue', (x) => tf.clipByValue(x, -0.5, 1.25)],
  ['Prelu', (x) => tf.prelu(x, tf.scalar(0.3))],
];

function unaryCases([kernel, f, row = {}]: (typeof UNARY)[number]): ConformanceCase[] {
  const { domain: [low, high] = [-3, 3], integers = false, special = true, gradient = true, ...options } = row;
  const on = (what: string, make: () => tf.Tensor) => conformanceCase(kernel, what, () => f(make()), options);
  const cases = [on('[3, 5, 7]', () => input([3, 5, 7], { low, high })), on('scalar', () => input([], { low, high })), on('empty', () => input([2, 0, 3]))];
  if (special) cases.push(on('NaN, infinities, zeros', () => tf.tensor1d(SPECIAL)));
  if (integers) cases.push(on('int32', () => input([4, 3], { low: -5, high: 5, dtype: 'int32' })));
  if (gradient) cases.push(gradientCase(kernel, '[4, 6]', () => [input([4, 6], { seed: 3, low, high })], f, options));
  return cases;
}

interface BinaryRow extends CaseOptions {
  low?: number;
  high?: number;
  integers?: boolean;
  special?: boolean;
  /** `same`: TF.js's gradient forgets to sum over what was broadcast. */
  gradient?: 'same' | 'broadcast';
}

const ARITHMETIC: [kernel: string, f: Binary, row?: BinaryRow][] = [
  ['Add', tf.add],
  ['Atan2', tf.atan2, { integers: false }],
  ['FloorDiv', tf.floorDiv, { low: 0.5, high: 4, special: false }],
  ['Maximum', tf.maximum, { gradient: 'same' }],
  ['Minimum', tf.minimum, { gradient: 'same' }],
  ['Mod', tf.mod, { low: 0.5, high: 4, special: false }],
  ['Multiply', tf.mul],
  ['Pow', tf.pow, { low: 0.3, high: 3, special: false }],
  ['RealDiv', tf.div, { low: 0.4, high: 4 }],
  ['SquaredDifference', tf.squaredDifference, { gradient: 'same' }],
  ['Sub', tf.sub],
];

/** Broadcasting over scalars, rows, columns, and axes that only one side has. */
const SHAPES: [a: number[], b: number[]][] = [[[3, 4], [3, 4]], [[], [2, 3]], [[2, 3, 4], [4]], [[2, 1, 4], [3, 1]], [[1], [1, 1, 1]], [[0, 3], [1, 3]], [[2, 0], [2, 1]]];

function binaryCases([kernel, f, { low = -2, high = 2, integers = true, special = true, gradient = 'broadcast', ...options } = {}]: (typeof ARITHMETIC)[number]): ConformanceCase[] {
  const pair = (a: number[], b: number[]) => [input(a, { seed: 5, low, high }), input(b, { seed: 6, low, high })] as const;
  const cases = SHAPES.map(([a, b]) => conformanceCase(kernel, `[${a.join(', ')}] and [${b.join(', ')}]`, () => f(...pair(a, b)), options));
  if (integers) cases.push(conformanceCase(kernel, 'int32', () => f(input([3, 4], { seed: 5, low: 1, high: 9, dtype: 'int32' }), input([4], { seed: 6, low: 1, high: 4, dtype: 'int32' })), options));
  if (integers) cases.push(conformanceCase(kernel, 'int32 and float32', () => f(input([3, 4], { seed: 5, low: 1, high: 9, dtype: 'int32' }), input([4], { seed: 6, low: 1, high: 4 })), options));
  if (special) cases.push(conformanceCase(kernel, 'NaN, infinities, zeros', () => f(tf.tensor(SPECIAL, [SPECIAL.length, 1]), tf.tensor(SPECIAL, [1, SPECIAL.length])), options));
  const pairs: [number[], number[]][] = [[[3, 4], [3, 4]], [[2, 3, 4], [3, 1]], [[4], [2, 4]]];
  for (const [a, b] of gradient === 'same' ? pairs.slice(0, 1) : pairs) cases.push(gradientCase(kernel, `[${a.join(', ')}] and [${b.join(', ')}]`, () => [...pair(a, b)], f, options));
  return cases;
}

const COMPARISONS: [kernel: string, f: Binary][] = [
  ['Equal', tf.equal], ['Greater', tf.greater], ['GreaterEqual', tf.greaterEqual], ['Less', tf.less], ['LessEqual', tf.lessEqual], ['NotEqual', tf.notEqual],
];
const LOGIC: [kernel: string, f: Binary][] = [['LogicalAnd', tf.logicalAnd], ['LogicalOr', tf.logicalOr]];

const comparisonCases = ([kernel, f]: (typeof COMPARISONS)[number]): ConformanceCase[] => [
  conformanceCase(kernel, 'float32, broadcast', () => f(tf.round(input([5, 1, 4])), tf.round(input([6, 1], { seed: 2 })))),
  conformanceCase(kernel, 'int32', () => f(input([5, 4], { dtype: 'int32' }), input([4], { seed: 2, dtype: 'int32' }))),
  conformanceCase(kernel, 'bool', () => f(input([5, 4], { dtype: 'bool' }), input([4], { seed: 2, dtype: 'bool' }))),
  conformanceCase(kernel, 'NaN, infinities, zeros', () => f(tf.tensor(SPECIAL, [SPECIAL.length, 1]), tf.tensor(SPECIAL, [1, SPECIAL.length]))),
  conformanceCase(kernel, 'empty', () => f(input([0, 4]), input([1, 4]))),
];

const logicCases = ([kernel, f]: (typeof LOGIC)[number]): ConformanceCase[] => [
  conformanceCase(kernel, 'bool, broadcast', () => f(input([5, 1, 4], { dtype: 'bool' }), input([6, 1], { seed: 2, dtype: 'bool' }))),
  conformanceCase(kernel, 'empty', () => f(input([0, 4], { dtype: 'bool' }), input([1, 4], { dtype: 'bool' }))),
];

const others: ConformanceCase[] = [
  conformanceCase('LogicalNot', 'bool', () => tf.logicalNot(input([3, 4], { dtype: 'bool' }))),
  conformanceCase('AddN', 'three', () => tf.addN([input([3, 4]), input([3, 4], { seed: 2 }), input([3, 4], { seed: 3 })])),
  gradientCase('AddN', 'three', () => [input([3, 4]), input([3, 4], { seed: 2 }), input([3, 4], { seed: 3 })], (...all) => tf.addN(all)),
  conformanceCase('AddN', 'one', () => tf.addN([input([3, 4])])),
  conformanceCase('BitwiseAnd', 'int32', () => tf.bitwiseAnd(input([3, 4], { low: 0, high: 90, dtype: 'int32' }), input([3, 4], { seed: 2, low: 0, high: 90, dtype: 'int32' }))),
  conformanceCase('Prelu', 'a slope a channel', () => tf.prelu(input([2, 3, 3, 4]), input([4], { seed: 2 }))),
  conformanceCase('LeakyRelu', 'int32', () => tf.leakyRelu(input([3, 4], { low: -5, high: 5, dtype: 'int32' }), 0.25)),
  gradientCase('Prelu', 'a slope a channel', () => [input([2, 3, 3, 4]), input([4], { seed: 2 })], tf.prelu),
  conformanceCase('Pow', 'int32 to a negative power', () => tf.pow(tf.tensor1d([2, 3, 1], 'int32'), tf.tensor1d([-1, -2, -3], 'int32'))),
  conformanceCase('Pow', 'negative numbers to whole powers', () => tf.pow(tf.tensor1d([-2, -3, -0.5]), tf.tensor1d([2, 3, -1]))),
  conformanceCase('Mod', 'signs', () => tf.mod(tf.tensor1d([5, -5, 5, -5]), tf.tensor1d([3, 3, -3, -3]))),
  conformanceCase('FloorDiv', 'signs, int32', () => tf.floorDiv(tf.tensor1d([5, -5, 5, -5], 'int32'), tf.tensor1d([3, 3, -3, -3], 'int32'))),
  conformanceCase('Round', 'halves go to the even number', () => tf.round(tf.tensor1d([0.5, 1.5, 2.5, -0.5, -1.5]))),
  conformanceCase('EluGrad', 'by its output', () => tf.grad((x) => tf.elu(x as tf.Tensor1D))(tf.tensor1d([-3, -0.1, 0, 0.2, 4]))),
  conformanceCase('Select', 'same shapes', () => tf.where(input([3, 4], { dtype: 'bool' }), input([3, 4]), input([3, 4], { seed: 2 }))),
  conformanceCase('Select', 'broadcast', () => tf.where(input([3, 1], { dtype: 'bool' }), input([3, 4]), tf.scalar(7))),
  gradientCase('Select', '[3, 4]', () => [input([3, 4]), input([3, 4], { seed: 2 })], (a, b) => tf.where(tf.greater(tf.range(0, 4), 1), a, b)),
];

export const elementwiseCases: readonly ConformanceCase[] = [...UNARY.flatMap(unaryCases), ...ARITHMETIC.flatMap(binaryCases), ...COMPARISONS.flatMap(comparisonCases), ...LOGIC.flatMap(logicCases), ...others];
