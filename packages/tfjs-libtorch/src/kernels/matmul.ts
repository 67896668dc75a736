import { FLOAT32, type Handle } from '../addon.js';
import { type KernelScope, defineKernel } from '../kernel.js';
import { type Activation, activate } from './activation.js';

interface MatMulAttrs { transposeA: boolean; transposeB: boolean }

export function registerMatMul(): void {
  const oriented = (scope: KernelScope, x: Handle, transposed: boolean) => (transposed ? scope.aten('aten::transpose.int', x, -2, -1) : x);
  const product = (scope: KernelScope, a: Handle, b: Handle, { transposeA, transposeB }: MatMulAttrs) => scope.aten('aten::matmul', oriented(scope, a, transposeA), oriented(scope, b, transposeB));
  defineKernel<MatMulAttrs>('BatchMatMul', (scope, { a, b }, attrs) => scope.output(product(scope, scope.handle(a!), scope.handle(b!), attrs), a!.dtype));
  defineKernel<MatMulAttrs & { activation: Activation; leakyreluAlpha?: number }>('_FusedMatMul', (scope, { a, b, bias, preluActivationWeights }, { activation, leakyreluAlpha, ...attrs }) => {
    const c = product(scope, scope.handle(a!), scope.handle(b!), attrs);
    const y = bias ? scope.aten('aten::add.Tensor', c, scope.handle(bias)) : c;
    return scope.output(activate(scope, y, activation, { slope: preluActivationWeights && scope.handle(preluActivationWeights), alpha: leakyreluAlpha }), a!.dtype);
  });
  // Operands named by letters, as NumPy's einsum; the inputs are a list.
  defineKernel<{ equation: string }>('Einsum', (scope, inputs, { equation }) => {
    const operands = Object.values(inputs);
    return scope.output(scope.aten('aten::einsum', equation, operands.map((t) => scope.handle(t))), operands[0]!.dtype);
  });
  defineKernel<{ dim?: number; logits?: never }>('Softmax', (scope, { logits }, { dim = -1 }) =>
    scope.output(scope.aten('aten::softmax.int', scope.handle(logits!), dim, FLOAT32), 'float32', logits!.shape));
  defineKernel<{ axis: number }>('LogSoftmax', (scope, { logits }, { axis }) =>
    scope.output(scope.aten('aten::log_softmax.int', scope.aten('aten::to.dtype', scope.handle(logits!), FLOAT32), axis, FLOAT32), 'float32', logits!.shape));
}
