import type { DataType } from '@tensorflow/tfjs-core';
import { defineKernel } from '../kernel.js';

/** Element-wise functions of one tensor: TF.js's kernel, ATen's operator, and the result's dtype where it isn't the input's. */
const UNARY: [kernel: string, operator: string, dtype?: DataType][] = [
  ['Abs', 'aten::abs'],
  ['Acos', 'aten::acos', 'float32'],
  ['Acosh', 'aten::acosh', 'float32'],
  ['Asin', 'aten::asin', 'float32'],
  ['Asinh', 'aten::asinh', 'float32'],
  ['Atan', 'aten::atan', 'float32'],
  ['Atanh', 'aten::atanh', 'float32'],
  ['Ceil', 'aten::ceil'],
  ['Cos', 'aten::cos', 'float32'],
  ['Cosh', 'aten::cosh', 'float32'],
  ['Erf', 'aten::erf', 'float32'],
  ['Exp', 'aten::exp', 'float32'],
  ['Expm1', 'aten::expm1', 'float32'],
  ['Floor', 'aten::floor'],
  ['IsFinite', 'aten::isfinite', 'bool'],
  ['IsInf', 'aten::isinf', 'bool'],
  ['IsNan', 'aten::isnan', 'bool'],
  ['Log', 'aten::log', 'float32'],
  ['Log1p', 'aten::log1p', 'float32'],
  ['LogicalNot', 'aten::logical_not', 'bool'],
  ['Neg', 'aten::neg'],
  ['Reciprocal', 'aten::reciprocal', 'float32'],
  ['Relu', 'aten::relu'],
  ['Round', 'aten::round'],
  ['Rsqrt', 'aten::rsqrt', 'float32'],
  ['Sigmoid', 'aten::sigmoid', 'float32'],
  ['Sign', 'aten::sign'],
  ['Sin', 'aten::sin', 'float32'],
  ['Sinh', 'aten::sinh', 'float32'],
  ['Softplus', 'aten::softplus', 'float32'],
  ['Sqrt', 'aten::sqrt', 'float32'],
  ['Square', 'aten::square'],
  ['Tan', 'aten::tan', 'float32'],
  ['Tanh', 'aten::tanh', 'float32'],
];

export function registerUnary(): void {
  for (const [kernel, operator, dtype] of UNARY) defineKernel(kernel, (scope, { x }) => scope.output(scope.aten(operator, scope.handle(x!)), dtype ?? x!.dtype, x!.shape));
}
