import type { Tensor } from '@tensorflow/tfjs-core';
import { relu, reluBackward, sum } from '../ops/activation.js';
import { batchNormActivation, batchNormActivationBackward, hasBatchNormActivation } from '../ops/batch-norm.js';
import { hasPackedConvolution, packedConv2d } from '../ops/convolution.js';
import { release } from '../ops/kernels.js';
import type { Parameter, StateBuffer } from '../parameter.js';
import { type Pass, give } from '../tape.js';
import type { BatchNorm } from './batch-norm.js';
import type { Conv2d } from './conv2d.js';
import type { Module } from './module.js';

/** What is added before ReLU. */
export interface Summand {
  value: Tensor;
  /** Takes over the gradient of the sum; null where nothing behind the summand wants one. */
  onGradient: ((gradient: Tensor) => void) | null;
}

/** What follows the convolution, and whether any of it is recorded. */
interface After { summand: Summand | null; positive: boolean }

/**
 * relu(BatchNorm(convolution(x)) + summand): what a ResNet is made of. On a backend that has the kernels, all that follows the
 * convolution is one pass over memory for the statistics and one for the rest, in either direction; and where BatchNorm is in eval mode
 * and nothing is learnt, it is part of the convolution.
 */
export class ConvolutionUnit implements Module {
  /** @param positive whether ReLU ends it. With a summand it always does. */
  constructor(readonly conv: Conv2d, readonly norm: BatchNorm, readonly positive: boolean) {}

  forward(x: Tensor, pass: Pass, summand: Summand | null = null): Tensor {
    const after: After = { summand, positive: this.positive || summand !== null };
    if (this.#isConstant(pass, summand) && hasPackedConvolution()) return this.#folded(x, after);
    const z = this.conv.forward(x, pass);
    // Statistics over all ranks are BatchNorm's own to take.
    return hasBatchNormActivation() && !pass.acrossRanks ? this.#fused(z, pass, after) : this.#composed(z, pass, after);
  }

  /** Whether a pass leaves nothing to walk back through, and no statistics to take. */
  #isConstant({ tape, training }: Pass, summand: Summand | null): boolean {
    if (training && this.norm.usesBatchStatistics) return false;
    return tape === null || !(tape.needsGradient || this.conv.weight.trainable || this.norm.weight.trainable || summand?.onGradient);
  }

  #folded(x: Tensor, { summand, positive }: After): Tensor {
    const { conv, norm } = this;
    return packedConv2d(x, { pack: conv.pack }, conv.geometry, { norm: { ...norm.tensors(), epsilon: norm.epsilon }, summand: summand?.value, relu: positive });
  }

  /** Takes over z. */
  #fused(z: Tensor, pass: Pass, { summand, positive }: After): Tensor {
    const { norm } = this, { epsilon } = norm;
    const onGradient = summand?.onGradient ?? null;
    const needs = { input: pass.tape?.needsGradient ?? false, parameters: norm.weight.trainable, sum: onGradient !== null };
    const recorded = pass.tape !== null && (needs.input || needs.parameters || needs.sum);
    const training = pass.training && norm.usesBatchStatistics;
    const { y, batch, moved } = batchNormActivation(z, norm.tensors(), { training, momentum: norm.momentum, epsilon, relu: positive, summand: summand?.value, inPlace: !recorded });
    if (moved) norm.move(moved);
    if (!recorded) {
      release(z, batch?.mean, batch?.inverseDeviation);
      return y;
    }
    // Without a summand, ReLU's mask follows from z.
    const saved = summand ? y.clone() : null;
    pass.tape!.push((dy) => {
      const { dx, dScale, dShift, dSum } = batchNormActivationBackward(dy, z, saved, norm.tensors(), batch, { epsilon, relu: positive, needs });
      if (dScale) give(pass, norm.weight, dScale);
      if (dShift) give(pass, norm.bias, dShift);
      if (dSum) onGradient!(dSum);
      release(dy, z, saved, batch?.mean, batch?.inverseDeviation);
      return dx;
    });
    return y;
  }

  /** Takes over z. */
  #composed(z: Tensor, pass: Pass, { summand, positive }: After): Tensor {
    const normalized = this.norm.forward(z, pass);
    const total = summand ? sum(normalized, summand.value) : normalized;
    const y = positive ? relu(total) : total.clone();
    release(z, normalized, summand ? total : null);
    const needsInput = pass.tape?.needsGradient ?? false, onGradient = summand?.onGradient;
    if (!pass.tape || !positive || !(needsInput || onGradient)) return y;
    const saved = y.clone();
    pass.tape.push((dy) => {
      const gradient = reluBackward(dy, saved);
      release(dy, saved);
      onGradient?.(gradient.clone());
      if (needsInput) return gradient;
      gradient.dispose();
      return null;
    });
    return y;
  }

  parameters(): Parameter[] {
    return [...this.conv.parameters(), ...this.norm.parameters()];
  }

  buffers(): StateBuffer[] {
    return this.norm.buffers();
  }
}

