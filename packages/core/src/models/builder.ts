import { type Tensor, fill, tensor, transpose } from '@tensorflow/tfjs-core';
import { BatchNorm } from '../modules/batch-norm.js';
import { Conv2d } from '../modules/conv2d.js';
import { Linear } from '../modules/linear.js';
import { Parameter, StateBuffer } from '../parameter.js';
import { randomStream } from '../random.js';

/**
 * Makes modules under torchvision's names, with torchvision's first values: filters by Kaiming's normal on the outgoing
 * side (He and others, 2015), BatchNorm 1 and 0, linear layers uniform by their incoming side.
 */
export class Builder {
  /** @param seed null leaves filters at zero, for weights that are loaded afterwards. */
  constructor(readonly seed: number | null) {}

  conv(name: string, inputs: number, outputs: number, size: number, strides: number): Conv2d {
    const count = outputs * size * size * inputs;
    const deviation = Math.sqrt(2 / (outputs * size * size));
    const values = new Float32Array(count);
    if (this.seed !== null) {
      const random = randomStream(this.seed, 'weights', name);
      for (let i = 0; i < count; i++) values[i] = deviation * random.normal();
    }
    const filter = filterFromMemory(values, [outputs, size, size, inputs]);
    return new Conv2d(new Parameter(`${name}.weight`, filter, 'filter'), { strides, padding: (size - 1) / 2 });
  }

  batchNorm(name: string, channels: number): BatchNorm {
    return new BatchNorm(name, new Parameter(`${name}.weight`, fill([channels], 1)), new Parameter(`${name}.bias`, fill([channels], 0)),
      new StateBuffer(`${name}.running_mean`, fill([channels], 0)), new StateBuffer(`${name}.running_var`, fill([channels], 1)));
  }

  linear(name: string, inputs: number, outputs: number): Linear {
    const random = randomStream(this.seed ?? 0, 'weights', name);
    const bound = 1 / Math.sqrt(inputs);
    const uniform = (count: number) => Float32Array.from({ length: count }, () => bound * (2 * random.uniform() - 1));
    return new Linear(new Parameter(`${name}.weight`, tensor(uniform(outputs * inputs), [outputs, inputs])), new Parameter(`${name}.bias`, tensor(uniform(outputs), [outputs])));
  }
}

/**
 * A filter from values that lie as [out, height, width, in]. To TF.js it is [height, width, in, out]; where the backend
 * transposes by views, as libtorch's does, the memory stays as it is, which is the layout its convolutions want.
 */
export function filterFromMemory(values: Float32Array, shape: [number, number, number, number]): Tensor {
  const stored = tensor(values, shape);
  const filter = transpose(stored, [1, 2, 3, 0]);
  stored.dispose();
  return filter;
}
