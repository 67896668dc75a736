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
  /** A model's filters are drawn one after another in the same memory, of which the backend takes a copy. */
  #drawn = new Float32Array(0);

  /**
   * @param seed null leaves filters at zero, for weights that are loaded afterwards
   * @param largest values in a filter, as far as that is known
   */
  constructor(readonly seed: number | null, private readonly largest = 0) {}

  conv(name: string, inputs: number, outputs: number, size: number, strides: number): Conv2d {
    const shape: [number, number, number, number] = [outputs, size, size, inputs];
    const filter = this.seed === null ? filterFrom(fill(shape, 0)) : filterFromMemory(this.#draw(this.seed, name, shape), shape);
    return new Conv2d(new Parameter(`${name}.weight`, filter, 'filter'), { strides, padding: (size - 1) / 2 });
  }

  #draw(seed: number, name: string, [outputs, height, width, inputs]: [number, number, number, number]): Float32Array {
    const count = outputs * height * width * inputs, deviation = Math.sqrt(2 / (outputs * height * width)), random = randomStream(seed, 'weights', name);
    if (this.#drawn.length < count) this.#drawn = new Float32Array(Math.max(count, this.largest));
    for (let i = 0; i < count; i++) this.#drawn[i] = deviation * random.normal();
    return this.#drawn.subarray(0, count);
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

/** A filter from values that lie as [out, height, width, in], which stay the caller's: every backend copies them here. */
export const filterFromMemory = (values: Float32Array, shape: [number, number, number, number]): Tensor => filterFrom(tensor(values, shape));

/**
 * Takes over a tensor [out, height, width, in]. To TF.js a filter is [height, width, in, out]; where the backend transposes by views, as
 * libtorch's does, the memory stays as it is, which is the layout its convolutions want.
 */
function filterFrom(stored: Tensor): Tensor {
  const filter = transpose(stored, [1, 2, 3, 0]);
  stored.dispose();
  return filter;
}
