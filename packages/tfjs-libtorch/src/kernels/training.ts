import type { TensorInfo } from '@tensorflow/tfjs-core';
import { type AdamStepOptions, BFLOAT16, FLOAT32, type SgdStepOptions, addon } from '../addon.js';
import { type Inputs, type KernelScope, defineKernel } from '../kernel.js';

/** Kernels by which core trains faster than by composing TF.js's operators; core looks for them by name. */
export function registerTraining(): void {
  defineKernel<{ precision: 'bfloat16' | 'float32' }>('ToPrecision', (scope, { x }, { precision }) =>
    scope.output(scope.aten('aten::to.dtype', scope.handle(x!), precision === 'bfloat16' ? BFLOAT16 : FLOAT32), 'float32', x!.shape));

  /** The gradient of ReLU by its output y: torch's threshold_backward. */
  defineKernel('ReluBackward', (scope, { dy, y }) => scope.output(scope.aten('aten::threshold_backward', scope.handle(dy!), scope.handle(y!), 0), 'float32', y!.shape));

  // Optimizers change their parameters where they lie; lists of tensors come as TF.js passes them to Concat.
  const handles = (scope: KernelScope, list: unknown) => (list as TensorInfo[]).map((t) => scope.handle(t));
  defineKernel<AdamStepOptions>('AdamStep', (scope, inputs: Inputs, options) => {
    const { parameters, gradients, first, second } = inputs as Record<string, unknown>;
    addon().adamStep(handles(scope, parameters), handles(scope, gradients), handles(scope, first), handles(scope, second), options);
    return [];
  });
  defineKernel<SgdStepOptions>('SgdStep', (scope, inputs: Inputs, options) => {
    const { parameters, gradients, buffers } = inputs as Record<string, unknown>;
    addon().sgdStep(handles(scope, parameters), handles(scope, gradients), handles(scope, buffers), options);
    return [];
  });
}
