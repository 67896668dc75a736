import { type Tensor, add, relu, tensor, transpose } from '@tensorflow/tfjs-core';
import { filterFromMemory } from '../models/builder.js';
import { conv2d } from '../ops/convolution.js';
import { type Precision, hasKernel, release, runKernel } from '../ops/kernels.js';
import { toPrecision } from '../ops/precision.js';
import type { FoldedOperation } from './fold.js';

export type Convolution = Extract<FoldedOperation, { kind: 'convolution' }>;

/** A convolution with its bias, a sum and ReLU, on the backend in use. */
export interface FusedConvolution {
  /** Overwrites and takes over `summand` where there is one; x stays the caller's. */
  run(x: Tensor, summand: Tensor | null): Tensor;
  dispose(): void;
}

/** By the backend's own kernel where it has one. */
export function fusedConvolution(operation: Convolution, precision: Precision): FusedConvolution {
  return hasKernel('PrepareConvolution') ? preparedConvolution(operation, precision) : composedConvolution(operation, precision);
}

function preparedConvolution({ weight, bias, strides, padding, relu: positive }: Convolution, precision: Precision): FusedConvolution {
  const given = { filter: tensor(weight.values, weight.shape), bias: tensor(bias) };
  const prepared = runKernel<Tensor>('PrepareConvolution', given, { strides, padding, precision });
  release(given.filter, given.bias);
  return {
    run: (x, summand) => runKernel<Tensor>('PreparedConvolution', { prepared, x, ...(summand ? { summand } : {}) }, { relu: positive }),
    dispose: () => prepared.dispose(),
  };
}

function composedConvolution({ weight, bias, strides, padding, relu: positive }: Convolution, precision: Precision): FusedConvolution {
  const filter = narrowed(filterOf(weight.values, weight.shape as [number, number, number, number]), precision), summed = narrowed(tensor(bias), precision);
  const geometry = { strides, padding };
  return {
    run: (x, summand) => {
      const product = conv2d(x, filter, geometry);
      const biased = add(product, summed);
      const total = summand ? add(biased, summand) : biased;
      const y = positive ? relu(total) : total.clone();
      release(product, biased, ...(summand ? [total] : []));
      return y;
    },
    dispose: () => release(filter, summed),
  };
}

function narrowed(wide: Tensor, precision: Precision): Tensor {
  const narrow = toPrecision(wide, precision);
  wide.dispose();
  return narrow;
}

/** [out, in, height, width] → our [height, width, in, out]. */
function filterOf(values: Float32Array, [outputs, inputs, height, width]: [number, number, number, number]): Tensor {
  const stored = tensor(values, [outputs, inputs, height, width]), ordered = transpose(stored, [0, 2, 3, 1]);
  const filter = filterFromMemory(ordered.dataSync() as Float32Array, [outputs, height, width, inputs]);
  release(stored, ordered);
  return filter;
}
