import type { Tensor } from '@tensorflow/tfjs-core';
import { relu, reluBackward } from '../ops/activation.js';
import { release } from '../ops/kernels.js';
import type { Pass } from '../tape.js';
import { Stateless } from './module.js';

/** torch.nn.ReLU. */
export class Relu extends Stateless {
  forward(x: Tensor, pass: Pass): Tensor {
    const y = relu(x);
    if (pass.tape?.needsGradient) {
      const saved = y.clone();
      pass.tape.push((dy) => {
        const dx = reluBackward(dy, saved);
        release(dy, saved);
        return dx;
      });
    }
    return y;
  }
}
