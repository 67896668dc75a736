import { type Tensor, add, concat, split } from '@tensorflow/tfjs-core';
import { release } from '../ops/kernels.js';
import { globalAveragePool, globalAveragePoolBackward, globalMaxPool, globalMaxPoolBackward, maxPool, maxPoolBackward, type PoolGeometry, tracedMaxPool } from '../ops/pooling.js';
import { toPrecision } from '../ops/precision.js';
import type { Pass } from '../tape.js';
import { Stateless } from './module.js';

/** torch.nn.MaxPool2d. */
export class MaxPool extends Stateless {
  constructor(readonly geometry: PoolGeometry) {
    super();
  }

  forward(x: Tensor, pass: Pass): Tensor {
    if (!pass.tape?.needsGradient) return maxPool(x, this.geometry);
    const { y, trace } = tracedMaxPool(x, this.geometry);
    pass.tape.push((dy) => {
      const dx = maxPoolBackward(dy, trace, this.geometry);
      release(dy, ...('indices' in trace ? [trace.indices] : [trace.x, trace.y]));
      return dx;
    });
    return y;
  }
}

/** torch.nn.AdaptiveAvgPool2d(1) and flatten: [batch, height, width, channels] → [batch, channels] in float32. */
export class GlobalAveragePool extends Stateless {
  forward(x: Tensor, pass: Pass): Tensor {
    const wide = toPrecision(x, 'float32');
    const y = globalAveragePool(wide);
    wide.dispose();
    if (pass.tape?.needsGradient) {
      const shape = x.shape;
      pass.tape.push((dy) => {
        const dx = globalAveragePoolBackward(dy, shape);
        const narrow = toPrecision(dx, pass.precision);
        release(dy, dx);
        return narrow;
      });
    }
    return y;
  }
}

/** Average and maximum side by side: [batch, height, width, channels] → [batch, 2 channels] in float32. */
export class ConcatPool extends Stateless {
  forward(x: Tensor, pass: Pass): Tensor {
    const wide = toPrecision(x, 'float32');
    const average = globalAveragePool(wide), largest = globalMaxPool(wide);
    const y = concat([average, largest], 1);
    average.dispose();
    if (!pass.tape?.needsGradient) {
      release(wide, largest);
      return y;
    }
    pass.tape.push((dy) => {
      const [dAverage, dLargest] = split(dy, 2, 1) as [Tensor, Tensor];
      const a = globalAveragePoolBackward(dAverage, wide.shape), b = globalMaxPoolBackward(dLargest, wide, largest);
      const dx = add(a, b), narrow = toPrecision(dx, pass.precision);
      release(dy, dAverage, dLargest, a, b, dx, wide, largest);
      return narrow;
    });
    return y;
  }
}
