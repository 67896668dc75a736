import type { Tensor } from '@tensorflow/tfjs-core';
import {
  type ConvolutionGeometry, type FilterOrPack, conv2d, conv2dFilterGradient, conv2dInputGradient, hasPackedConvolution, packFilter, packedConv2d, packedConv2dFilterGradient, packedConv2dInputGradient,
} from '../ops/convolution.js';
import { release } from '../ops/kernels.js';
import type { Parameter, StateBuffer } from '../parameter.js';
import { type Pass, give } from '../tape.js';
import type { Module } from './module.js';

/** torch.nn.Conv2d without a bias. */
export class Conv2d implements Module {
  constructor(readonly weight: Parameter, readonly geometry: ConvolutionGeometry) {}

  forward(x: Tensor, pass: Pass): Tensor {
    const { weight } = this;
    const y = this.#convolve(x, pass);
    const needsInput = pass.tape?.needsGradient ?? false;
    if (pass.tape && (needsInput || weight.trainable)) {
      const saved = weight.trainable ? x.clone() : null;
      const inputShape = x.shape;
      pass.tape.push((dy) => {
        if (saved) give(pass, weight, this.#filterGradient(dy, saved));
        const dx = needsInput ? this.#inputGradient(dy, inputShape, pass) : null;
        release(dy, saved);
        return dx;
      });
    }
    return y;
  }

  #convolve(x: Tensor, pass: Pass): Tensor {
    return hasPackedConvolution() ? packedConv2d(x, this.#packed(), this.geometry) : conv2d(x, this.weight.inPrecision(pass.precision), this.geometry);
  }

  #inputGradient(dy: Tensor, inputShape: number[], pass: Pass): Tensor {
    return hasPackedConvolution() ? packedConv2dInputGradient(dy, this.#packed(), inputShape, this.geometry) : conv2dInputGradient(dy, this.weight.inPrecision(pass.precision), inputShape, this.geometry);
  }

  #filterGradient(dy: Tensor, x: Tensor): Tensor {
    return (hasPackedConvolution() ? packedConv2dFilterGradient : conv2dFilterGradient)(dy, x, this.weight.shape, this.geometry);
  }

  /** A filter that learns is laid out anew each time it is used, a frozen one once. */
  #packed(): FilterOrPack {
    const { weight } = this;
    return weight.trainable ? { filter: weight.value } : { pack: this.pack };
  }

  /** The filter laid out, until it changes. */
  get pack(): Tensor {
    return this.weight.derived('pack', () => packFilter(this.weight.value));
  }

  parameters(): Parameter[] {
    return [this.weight];
  }

  buffers(): StateBuffer[] {
    return [];
  }
}
