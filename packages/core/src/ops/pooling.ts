import { type Tensor, cast, div, equal, expandDims, max, mean, mul, scalar, sum, tidy, tile } from '@tensorflow/tfjs-core';
import { border, needsBorder, withoutBorder } from './border.js';
import { hasKernel, runKernel } from './kernels.js';

export interface PoolGeometry { filterSize: number; strides: number; pad: number }

export interface MaxPooled {
  y: Tensor;
  /** Where the largest values stood, for backends that remember it. */
  indices: Tensor | null;
}

/** torch.nn.functional.max_pool2d. */
export function maxPool(x: Tensor, geometry: PoolGeometry): MaxPooled {
  if (hasKernel('MaxPoolWithIndices')) {
    const [y, indices] = runKernel<Tensor[]>('MaxPoolWithIndices', { x }, geometry);
    return { y: y!, indices: indices! };
  }
  if (needsBorder(geometry.pad)) return { y: tidy(() => maxPool(border(x, geometry.pad, -Infinity), { ...geometry, pad: 0 }).y), indices: null };
  return { y: runKernel<Tensor>('MaxPool', { x }, geometry), indices: null };
}

export function maxPoolBackward(dy: Tensor, x: Tensor, { y, indices }: MaxPooled, geometry: PoolGeometry): Tensor {
  if (indices) return runKernel<Tensor>('MaxPoolWithIndicesBackward', { dy, x, indices }, geometry);
  if (needsBorder(geometry.pad)) return withoutBorder(geometry.pad, () => maxPoolBackward(dy, border(x, geometry.pad, -Infinity), { y, indices }, { ...geometry, pad: 0 }));
  return runKernel<Tensor>('MaxPoolGrad', { dy, input: x, output: y }, geometry);
}

/** [batch, height, width, channels] → [batch, channels]: the mean of each channel. */
export const globalAveragePool = (x: Tensor): Tensor => mean(x, [1, 2]);

export function globalAveragePoolBackward(dy: Tensor, inputShape: number[]): Tensor {
  return tidy(() => spread(div(dy, scalar(inputShape[1]! * inputShape[2]!)), inputShape));
}

/** [batch, height, width, channels] → [batch, channels]: the largest of each channel, torch.amax. */
export const globalMaxPool = (x: Tensor): Tensor => max(x, [1, 2]);

/** Equal maxima share the gradient evenly, as in torch.amax. */
export function globalMaxPoolBackward(dy: Tensor, x: Tensor, y: Tensor): Tensor {
  return tidy(() => {
    const hits = cast(equal(x, spread(y, x.shape)), 'float32');
    return mul(hits, spread(div(dy, sum(hits, [1, 2])), x.shape));
  });
}

/** [batch, channels] over all positions of [batch, height, width, channels]. */
function spread(values: Tensor, [, height, width]: number[]): Tensor {
  return tile(expandDims(expandDims(values, 1), 1), [1, height!, width!, 1]);
}
