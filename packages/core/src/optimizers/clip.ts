import { type Tensor, addN, mul, scalar, sqrt, square, sum, tidy } from '@tensorflow/tfjs-core';
import type { Parameter } from '../parameter.js';

/**
 * Scales the gradients of all parameters together so that their norm, taken as one vector, is at most `maxNorm`;
 * torch.nn.utils.clip_grad_norm_ with the 2-norm. Parameters without a gradient don't count.
 * @returns the norm before; infinite or NaN where a gradient is (then the gradients become NaN or 0, as in PyTorch)
 * @throws RangeError when `maxNorm` is not above 0
 */
export function clipGradients(parameters: readonly Parameter[], maxNorm: number): number {
  if (!(maxNorm > 0)) throw new RangeError(`gradients are clipped to a norm above 0, not to ${maxNorm}`);
  const learning = parameters.filter(({ gradient }) => gradient !== null);
  if (learning.length === 0) return 0;
  const norm = tidy(() => sqrt(addN(learning.map(({ gradient }) => sum(square(gradient!)))) as Tensor).dataSync()[0]!);
  // torch's guard against a norm of 0.
  const factor = maxNorm / (norm + 1e-6);
  if (factor >= 1) return norm;
  scaleGradients(learning, factor);
  return norm;
}

/** Multiplies the gradients that are there. */
export function scaleGradients(parameters: readonly Parameter[], factor: number): void {
  for (const parameter of parameters) {
    const { gradient } = parameter;
    if (gradient === null) continue;
    const scaled = tidy(() => mul(gradient, scalar(factor)));
    parameter.clearGradient();
    parameter.accumulate(scaled);
  }
}
