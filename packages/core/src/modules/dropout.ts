import { type Tensor, mul, tensor } from '@tensorflow/tfjs-core';
import { release } from '../ops/kernels.js';
import { randomStream } from '../random.js';
import type { Pass } from '../tape.js';
import { Stateless } from './module.js';

/**
 * torch.nn.Dropout (Srivastava and others, 2014) on [batch, features]. A row's mask comes from the row's own key, so it
 * is the same whichever machine computes the row.
 */
export class Dropout extends Stateless {
  constructor(readonly name: string, readonly rate: number) {
    super();
  }

  forward(x: Tensor, pass: Pass): Tensor {
    if (!pass.training || this.rate === 0) return x.clone();
    const mask = this.#mask(x.shape as [number, number], pass);
    const y = mul(x, mask);
    if (!pass.tape?.needsGradient) {
      mask.dispose();
      return y;
    }
    pass.tape.push((dy) => {
      const dx = mul(dy, mask);
      release(dy, mask);
      return dx;
    });
    return y;
  }

  #mask([rows, features]: [number, number], pass: Pass): Tensor {
    if (pass.rowKeys?.length !== rows) throw new Error('dropout needs a key for each row of a training pass');
    const values = new Float32Array(rows * features);
    const kept = 1 / (1 - this.rate);
    pass.rowKeys.forEach((key, row) => {
      const random = randomStream(this.name, ...key);
      for (let i = 0; i < features; i++) values[row * features + i] = random.uniform() < this.rate ? 0 : kept;
    });
    return tensor(values, [rows, features]);
  }
}
