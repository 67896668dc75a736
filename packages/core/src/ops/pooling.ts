import { type Tensor, cast, div, equal, expandDims, max, mean, mul, scalar, sum, tidy, tile } from '@tensorflow/tfjs-core';
import { border, needsBorder, withoutBorder } from './border.js';
import { hasKernel, runKernel } from './kernels.js';

export interface PoolGeometry { filterSize: number; strides: number; pad: number }

/** Behind the first convolution of every ResNet. */
export const STEM_POOL: PoolGeometry = { filterSize: 3, strides: 2, pad: 1 };

/** What the way back needs: where the largest values stood on backends that remember it, elsewhere input and output, to search again. */
export type PoolTrace = { indices: Tensor; inputShape: number[] } | { x: Tensor; y: Tensor };

/** torch.nn.functional.max_pool2d. */
export function maxPool(x: Tensor, geometry: PoolGeometry): Tensor {
  if (needsBorder(geometry.pad)) return tidy(() => maxPool(border(x, geometry.pad, -Infinity), { ...geometry, pad: 0 }));
  return runKernel<Tensor>('MaxPool', { x }, geometry);
}

/** `maxPool`, with what `maxPoolBackward` needs, which is the caller's to release. */
export function tracedMaxPool(x: Tensor, geometry: PoolGeometry): { y: Tensor; trace: PoolTrace } {
  if (hasKernel('MaxPoolWithIndices')) {
    const [y, indices] = runKernel<Tensor[]>('MaxPoolWithIndices', { x }, geometry);
    return { y: y!, trace: { indices: indices!, inputShape: x.shape } };
  }
  const y = maxPool(x, geometry);
  return { y, trace: { x: x.clone(), y: y.clone() } };
}

export function maxPoolBackward(dy: Tensor, trace: PoolTrace, geometry: PoolGeometry): Tensor {
  if ('indices' in trace) return runKernel<Tensor>('MaxPoolWithIndicesBackward', { dy, indices: trace.indices }, { ...geometry, inputShape: trace.inputShape });
  const { x, y } = trace;
  if (needsBorder(geometry.pad)) return withoutBorder(geometry.pad, () => maxPoolBackward(dy, { x: border(x, geometry.pad, -Infinity), y }, { ...geometry, pad: 0 }));
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
