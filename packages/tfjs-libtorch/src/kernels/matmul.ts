import { type TensorInfo, backend_util } from '@tensorflow/tfjs-core';
import { FLOAT32, type Handle } from '../addon.js';
import { type KernelScope, defineKernel } from '../kernel.js';
import { type Activation, activate } from './activation.js';

/** TF.js's own words for an equation that can't be. libtorch takes more than it: three operands and more, letters that stand twice, ellipses. */
function checkEinsum(equation: string, operands: TensorInfo[]): void {
  const wellFormed = /^[a-zA-Z.,]*->[a-zA-Z.]*$/.test(equation), twice = equation.split(/,|->/).some((letters) => new Set(letters).size < letters.length);
  if (operands.length > 2 || (wellFormed && twice)) return;
  const { allDims, idDims } = backend_util.decodeEinsumEquation(equation, operands.length);
  backend_util.checkEinsumDimSizes(allDims.length, idDims, operands as never);
}

interface MatMulAttrs { transposeA: boolean; transposeB: boolean }

export function registerMatMul(): void {
  const oriented = (scope: KernelScope, x: Handle, transposed: boolean) => (transposed ? scope.aten('aten::transpose.int', x, -2, -1) : x);
  const product = (scope: KernelScope, a: TensorInfo, b: TensorInfo, { transposeA, transposeB }: MatMulAttrs) => {
    if (a.shape.length < 2 || b.shape.length < 2) throw new Error('a product of matrices takes tensors of rank 2 or more');
    return scope.aten('aten::matmul', oriented(scope, scope.handle(a), transposeA), oriented(scope, scope.handle(b), transposeB));
  };
  defineKernel<MatMulAttrs>('BatchMatMul', (scope, { a, b }, attrs) => scope.output(product(scope, a!, b!, attrs), a!.dtype));
  defineKernel<MatMulAttrs & { activation: Activation; leakyreluAlpha?: number }>('_FusedMatMul', (scope, { a, b, bias, preluActivationWeights }, { activation, leakyreluAlpha, ...attrs }) => {
    const c = product(scope, a!, b!, attrs);
    const y = bias ? scope.aten('aten::add.Tensor', c, scope.handle(bias)) : c;
    return scope.output(activate(scope, y, activation, { slope: preluActivationWeights && scope.handle(preluActivationWeights), alpha: leakyreluAlpha }), a!.dtype);
  });
  // Operands named by letters, as NumPy's einsum; the inputs are a list.
  defineKernel<{ equation: string }>('Einsum', (scope, inputs, { equation }) => {
    const operands = Object.values(inputs);
    checkEinsum(equation, operands);
    return scope.output(scope.aten('aten::einsum', equation, operands.map((t) => scope.handle(t))), operands[0]!.dtype);
  });
  defineKernel<{ dim?: number; logits?: never }>('Softmax', (scope, { logits }, { dim = -1 }) =>
    scope.output(scope.aten('aten::softmax.int', scope.handle(logits!), dim, FLOAT32), 'float32', logits!.shape));
  defineKernel<{ axis: number }>('LogSoftmax', (scope, { logits }, { axis }) =>
    scope.output(scope.aten('aten::log_softmax.int', scope.aten('aten::to.dtype', scope.handle(logits!), FLOAT32), axis, FLOAT32), 'float32', logits!.shape));
}
