import type { Tensor } from '@tensorflow/tfjs-core';
import { conv2d, conv2dFilterGradient, conv2dInputGradient, type ConvolutionGeometry } from '../ops/convolution.js';
import { release } from '../ops/kernels.js';
import type { Parameter, StateBuffer } from '../parameter.js';
import { type Pass, give } from '../tape.js';
import type { Module } from './module.js';

/** torch.nn.Conv2d without a bias. */
export class Conv2d implements Module {
  constructor(readonly weight: Parameter, readonly geometry: ConvolutionGeometry) {}

  forward(x: Tensor, pass: Pass): Tensor {
    const { weight, geometry } = this;
    const y = conv2d(x, weight.inPrecision(pass.precision), geometry);
    const needsInput = pass.tape?.needsGradient ?? false;
    if (pass.tape && (needsInput || weight.trainable)) {
      const saved = weight.trainable ? x.clone() : null;
      const inputShape = x.shape;
      pass.tape.push((dy) => {
        if (saved) give(pass, weight, conv2dFilterGradient(dy, saved, weight.shape, geometry));
        const dx = needsInput ? conv2dInputGradient(dy, weight.inPrecision(pass.precision), inputShape, geometry) : null;
        release(dy, saved);
        return dx;
      });
    }
    return y;
  }

  parameters(): Parameter[] {
    return [this.weight];
  }

  buffers(): StateBuffer[] {
    return [];
  }
}
