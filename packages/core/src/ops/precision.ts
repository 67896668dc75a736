import type { Tensor } from '@tensorflow/tfjs-core';
import { type Precision, hasKernel, runKernel } from './kernels.js';

/** Whether the backend in use can hold activations in this precision. */
export function supportsPrecision(precision: Precision): boolean {
  return precision === 'float32' || hasKernel('ToPrecision');
}

/** Whether the backend in use can run folded networks in bytes, and the processor multiplies them. */
export function supportsInt8(): boolean {
  return hasKernel('PreparedNetworkInBytes');
}

/** A tensor of the same values in another precision; to TF.js both are float32. */
export function toPrecision(x: Tensor, precision: Precision): Tensor {
  if (hasKernel('ToPrecision')) return runKernel<Tensor>('ToPrecision', { x }, { precision });
  if (precision === 'bfloat16') throw new Error('the backend in use computes in float32 only');
  return x.clone();
}
