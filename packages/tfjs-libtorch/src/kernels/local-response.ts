import { FLOAT32, type Handle } from '../addon.js';
import { type KernelScope, defineKernel } from '../kernel.js';

interface NormalizationAttrs { depthRadius: number; bias: number; alpha: number; beta: number }

/** Sums over each channel and its `radius` neighbours on both sides. */
function windowSums(scope: KernelScope, x: Handle, radius: number): Handle {
  const windows = scope.aten('aten::unfold', scope.aten('aten::constant_pad_nd', x, [radius, radius], 0), -1, 2 * radius + 1, 1);
  return scope.aten('aten::sum.dim_IntList', windows, [-1], false);
}

/** bias + alpha * the neighbours' squares (Krizhevsky et al. 2012, section 3.3). */
function norm(scope: KernelScope, x: Handle, { depthRadius, bias, alpha }: NormalizationAttrs): Handle {
  return scope.aten('aten::add.Scalar', scope.aten('aten::mul.Scalar', windowSums(scope, scope.aten('aten::square', x), depthRadius), alpha), bias);
}

/** Local response normalization over channels, y = x * norm^-beta, and its gradient. */
export function registerLocalResponse(): void {
  const wide = (scope: KernelScope, x: Handle) => scope.aten('aten::to.dtype', x, FLOAT32);
  defineKernel<NormalizationAttrs>('LRN', (scope, { x }, attrs) => {
    const values = wide(scope, scope.handle(x!));
    return scope.output(scope.aten('aten::mul.Tensor', values, scope.aten('aten::pow.Tensor_Scalar', norm(scope, values, attrs), -attrs.beta)), 'float32', x!.shape);
  });
  defineKernel<NormalizationAttrs>('LRNGrad', (scope, { x, y, dy }, attrs) => {
    const values = wide(scope, scope.handle(x!)), gradient = wide(scope, scope.handle(dy!)), n = norm(scope, values, attrs);
    const direct = scope.aten('aten::mul.Tensor', gradient, scope.aten('aten::pow.Tensor_Scalar', n, -attrs.beta));
    const felt = windowSums(scope, scope.aten('aten::div.Tensor', scope.aten('aten::mul.Tensor', gradient, wide(scope, scope.handle(y!))), n), attrs.depthRadius);
    const around = scope.aten('aten::mul.Scalar', scope.aten('aten::mul.Tensor', values, felt), 2 * attrs.alpha * attrs.beta);
    return scope.output(scope.aten('aten::sub.Tensor', direct, around), 'float32', x!.shape);
  });
}
