import { INT32 } from '../addon.js';
import { defineKernel } from '../kernel.js';

/** Arithmetic on two tensors of one dtype, broadcast as NumPy does. */
const ARITHMETIC: [kernel: string, operator: string][] = [
  ['Add', 'aten::add.Tensor'],
  ['Atan2', 'aten::atan2'],
  ['BitwiseAnd', 'aten::bitwise_and.Tensor'],
  ['Maximum', 'aten::maximum'],
  ['Minimum', 'aten::minimum'],
  ['Mod', 'aten::remainder.Tensor'],
  ['Multiply', 'aten::mul.Tensor'],
  ['Pow', 'aten::pow.Tensor_Tensor'],
  ['RealDiv', 'aten::div.Tensor'],
  ['Sub', 'aten::sub.Tensor'],
];

/** Comparisons and logic, whose result is bool. */
const LOGIC: [kernel: string, operator: string][] = [
  ['Equal', 'aten::eq.Tensor'],
  ['Greater', 'aten::gt.Tensor'],
  ['GreaterEqual', 'aten::ge.Tensor'],
  ['Less', 'aten::lt.Tensor'],
  ['LessEqual', 'aten::le.Tensor'],
  ['LogicalAnd', 'aten::logical_and'],
  ['LogicalOr', 'aten::logical_or'],
  ['NotEqual', 'aten::ne.Tensor'],
];

export function registerBinary(): void {
  defineKernel('AddN', (scope, inputs) => {
    const [first, ...rest] = Object.values(inputs);
    return scope.output(rest.reduce((sum, t) => scope.aten('aten::add.Tensor', sum, scope.handle(t)), scope.aten('aten::alias', scope.handle(first!))), first!.dtype);
  });
  for (const [kernel, operator] of ARITHMETIC) defineKernel(kernel, (scope, { a, b }) => scope.output(scope.aten(operator, scope.handle(a!), scope.handle(b!)), a!.dtype));
  for (const [kernel, operator] of LOGIC) defineKernel(kernel, (scope, { a, b }) => scope.output(scope.aten(operator, scope.handle(a!), scope.handle(b!)), 'bool'));
  defineKernel('SquaredDifference', (scope, { a, b }) => scope.output(scope.aten('aten::square', scope.aten('aten::sub.Tensor', scope.handle(a!), scope.handle(b!))), a!.dtype));
  // TF.js's is int32 for every dtype.
  defineKernel('FloorDiv', (scope, { a, b }) => scope.output(scope.aten('aten::to.dtype', scope.aten('aten::div.Tensor_mode', scope.handle(a!), scope.handle(b!), 'floor'), INT32), 'int32'));
}
