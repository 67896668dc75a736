import { type KernelScope, defineKernel } from '../kernel.js';
import { FLOAT32, type Handle } from '../addon.js';

export type Activation = 'linear' | 'relu' | 'relu6' | 'elu' | 'leakyrelu' | 'prelu' | 'sigmoid';

/** slope * x below zero, x from there on; the slope broadcasts. */
function prelu(scope: KernelScope, x: Handle, slope: Handle): Handle {
  return scope.aten('aten::where.self', scope.aten('aten::lt.Scalar', x, 0), scope.aten('aten::mul.Tensor', x, slope), x);
}

/** The activation that TF.js's fused kernels name. `slope` is prelu's tensor, `alpha` leakyrelu's number. */
export function activate(scope: KernelScope, x: Handle, activation: Activation, { slope, alpha = 0.2 }: { slope?: Handle | undefined; alpha?: number | undefined } = {}): Handle {
  switch (activation) {
    case 'linear':
      return x;
    case 'relu':
      return scope.aten('aten::relu', x);
    case 'relu6':
      return scope.aten('aten::clamp', x, 0, 6);
    case 'elu':
      return scope.aten('aten::elu', x);
    case 'leakyrelu':
      return scope.aten('aten::leaky_relu', x, alpha);
    case 'sigmoid':
      return scope.aten('aten::sigmoid', x);
    case 'prelu':
      if (slope === undefined) throw new Error('prelu needs its slopes');
      return prelu(scope, x, slope);
    default:
      throw new Error(`there is no activation called ${activation satisfies never as string}`);
  }
}

export function registerActivations(): void {
  defineKernel('Relu6', (scope, { x }) => scope.output(activate(scope, scope.handle(x!), 'relu6'), x!.dtype, x!.shape));
  defineKernel('Elu', (scope, { x }) => scope.output(activate(scope, scope.handle(x!), 'elu'), x!.dtype, x!.shape));
  defineKernel('Selu', (scope, { x }) => scope.output(scope.aten('aten::selu', scope.handle(x!)), x!.dtype, x!.shape));
  defineKernel<{ alpha: number }>('LeakyRelu', (scope, { x }, { alpha }) => {
    const values = x!.dtype === 'float32' ? scope.handle(x!) : scope.aten('aten::to.dtype', scope.handle(x!), FLOAT32);
    return scope.output(activate(scope, values, 'leakyrelu', { alpha }), 'float32', x!.shape);
  });
  defineKernel('Prelu', (scope, { x, alpha }) => scope.output(activate(scope, scope.handle(x!), 'prelu', { slope: scope.handle(alpha!) }), 'float32', x!.shape));
  // The gradient of elu by its output.
  defineKernel('EluGrad', (scope, { dy, y }) => scope.output(scope.aten('aten::elu_backward', scope.handle(dy!), 1, 1, 1, true, scope.handle(y!)), 'float32', y!.shape));
}
