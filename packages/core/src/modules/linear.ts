import type { Tensor } from '@tensorflow/tfjs-core';
import { linear, linearBiasGradient, linearInputGradient, linearWeightGradient } from '../ops/linear.js';
import { release } from '../ops/kernels.js';
import type { Parameter, StateBuffer } from '../parameter.js';
import { type Pass, give } from '../tape.js';
import type { Module } from './module.js';

/** torch.nn.Linear; always in float32. */
export class Linear implements Module {
  constructor(readonly weight: Parameter, readonly bias: Parameter) {}

  forward(x: Tensor, pass: Pass): Tensor {
    const { weight, bias } = this;
    const y = linear(x, weight.value, bias.value);
    const needsInput = pass.tape?.needsGradient ?? false;
    if (pass.tape && (needsInput || weight.trainable)) {
      const saved = weight.trainable ? x.clone() : null;
      pass.tape.push((dy) => {
        if (saved) {
          give(pass, weight, linearWeightGradient(dy, saved));
          give(pass, bias, linearBiasGradient(dy));
        }
        const dx = needsInput ? linearInputGradient(dy, weight.value) : null;
        release(dy, saved);
        return dx;
      });
    }
    return y;
  }

  parameters(): Parameter[] {
    return [this.weight, this.bias];
  }

  buffers(): StateBuffer[] {
    return [];
  }
}
