import { type TensorInfo, backend_util } from '@tensorflow/tfjs-core';
import { FLOAT32, type Handle, INT32, INT64, type PoolWindow, addon, deviceInUse } from '../addon.js';
import { type Inputs, type KernelScope, defineKernel, nchw, nhwc } from '../kernel.js';
import { type Walk, padded, unpadded, walkOf } from './window.js';

interface PoolAttrs { filterSize: number | [number, number]; strides: number | [number, number]; pad: 'valid' | 'same' | number; dimRoundingMode?: 'floor' | 'round' | 'ceil' }
interface Windows extends Walk, PoolWindow {}

function windows(shape: number[], { filterSize, strides, pad, dimRoundingMode }: PoolAttrs): Windows {
  const info = backend_util.computePool2DInfo(shape as [number, number, number, number], filterSize, strides, 1, pad, dimRoundingMode);
  const size: [number, number] = [info.filterHeight, info.filterWidth];
  // ATen pads by half a window at most.
  return { ...walkOf(info, [Math.floor(size[0] / 2), Math.floor(size[1] / 2)]), size, corner: [info.padInfo.top, info.padInfo.left], output: [info.outHeight, info.outWidth] };
}

/** An NHWC tensor as ATen's pooling takes it. */
const image = (scope: KernelScope, x: TensorInfo, w: Windows, value: number): Handle => padded(scope, nchw(scope, scope.handle(x)), w, value);

const atenMaxima = (scope: KernelScope, x: TensorInfo, w: Windows) => scope.atenAll('aten::max_pool2d_with_indices', image(scope, x, w, -Infinity), w.size, w.strides, w.padding, [1, 1], false) as [Handle, Handle];

/** What the addon pools by itself. */
const isOurs = (x: Handle, { size }: Windows): boolean => deviceInUse() === 'cpu' && ['Float', 'BFloat16'].includes(addon().scalarType(x)) && size[0] * size[1] <= 256;

/** The largest values, and with `keep` where they stood: in the addon's bytes, or in ATen's integers. */
function maxima(scope: KernelScope, x: TensorInfo, w: Windows, keep: boolean): Handle[] {
  const handle = scope.handle(x);
  if (isOurs(handle, w)) return addon().maxPool(handle, w, keep).map((made) => scope.own(made));
  return atenMaxima(scope, x, w).map((made) => nhwc(scope, made));
}

function maxBackward(scope: KernelScope, dy: Handle, positions: Handle, inputShape: number[], w: Windows): Handle {
  if (addon().scalarType(positions) === 'Byte') return scope.own(addon().maxPoolBackward(dy, positions, inputShape, w));
  const [batch, height, width, channels] = inputShape as [number, number, number, number], [left, right, top, bottom] = w.before ?? [0, 0, 0, 0];
  // ATen asks the input for its shape alone.
  const x = scope.aten('aten::new_empty', dy, [batch, height + top + bottom, width + left + right, channels]);
  const dx = scope.aten('aten::max_pool2d_with_indices_backward', nchw(scope, dy), nchw(scope, x), w.size, w.strides, w.padding, [1, 1], false, nchw(scope, positions));
  return nhwc(scope, unpadded(scope, dx, w));
}

const average = (scope: KernelScope, x: Handle, w: Windows): Handle => scope.aten('aten::avg_pool2d', x, w.size, w.strides, w.padding, false, false);

/** For a tensor that was padded first: the part of each window that lies on the picture itself, [1, 1, height, width]. */
function coverage(scope: KernelScope, w: Windows): Handle {
  return average(scope, padded(scope, scope.aten('aten::ones', [1, 1, w.height, w.width], FLOAT32), w, 0), w);
}

export function registerPooling(): void {
  defineKernel<PoolAttrs>('MaxPool', (scope, { x }, attrs) => scope.output(maxima(scope, x!, windows(x!.shape, attrs), false)[0]!, x!.dtype));
  defineKernel<PoolAttrs>('MaxPoolGrad', (scope, { dy, input }: Inputs, attrs) => {
    const w = windows(input!.shape, attrs), [, positions] = maxima(scope, input!, w, true);
    return scope.output(maxBackward(scope, scope.handle(dy!), positions!, input!.shape, w), 'float32', input!.shape);
  });
  // Core's own pair, which remembers where the largest values stood: the way back neither searches again nor keeps the input.
  defineKernel<PoolAttrs>('MaxPoolWithIndices', (scope, { x }, attrs) => {
    const [y, positions] = maxima(scope, x!, windows(x!.shape, attrs), true);
    return [scope.output(y!), scope.output(positions!, 'int32')];
  });
  defineKernel<PoolAttrs & { inputShape: number[] }>('MaxPoolWithIndicesBackward', (scope, { dy, indices }, { inputShape, ...attrs }) =>
    scope.output(maxBackward(scope, scope.handle(dy!), scope.handle(indices!), inputShape, windows(inputShape, attrs)), 'float32', inputShape));
  // TF.js's own pair of values and positions, counted in the flattened picture or batch.
  defineKernel<PoolAttrs & { includeBatchInIndex: boolean }>('MaxPoolWithArgmax', (scope, { x }, { includeBatchInIndex, ...attrs }) => {
    const w = windows(x!.shape, attrs), [batch, , , channels] = x!.shape as [number, number, number, number];
    const [y, places] = atenMaxima(scope, x!, w);
    const [left, right, top] = w.before ?? [0, 0, 0, 0], wide = w.width + left + right;
    const row = scope.aten('aten::sub.Scalar', scope.aten('aten::div.Scalar_mode', places, wide, 'floor'), top), column = scope.aten('aten::sub.Scalar', scope.aten('aten::remainder.Scalar', places, wide), left);
    const pixel = scope.aten('aten::add.Tensor', scope.aten('aten::mul.Scalar', row, w.width), column);
    const value = scope.aten('aten::add.Tensor', scope.aten('aten::mul.Scalar', nhwc(scope, pixel), channels), scope.aten('aten::arange', channels, INT64));
    const pictures = scope.aten('aten::mul.Scalar', scope.aten('aten::reshape', scope.aten('aten::arange', includeBatchInIndex ? batch : 1, INT64), [-1, 1, 1, 1]), w.height * w.width * channels);
    return [scope.output(nhwc(scope, y), x!.dtype), scope.output(scope.aten('aten::to.dtype', scope.aten('aten::add.Tensor', value, pictures), INT32), 'int32')];
  });
  defineKernel<PoolAttrs>('AvgPool', (scope, { x }, attrs) => {
    const w = windows(x!.shape, attrs);
    const y = average(scope, image(scope, x!, w, 0), w);
    return scope.output(nhwc(scope, w.before === null ? y : scope.aten('aten::div.Tensor', y, coverage(scope, w))));
  });
  defineKernel<PoolAttrs>('AvgPoolGrad', (scope, { dy, input }, attrs) => {
    const w = windows(input!.shape, attrs);
    const gradient = nchw(scope, scope.handle(dy!));
    const spread = w.before === null ? gradient : scope.aten('aten::div.Tensor', gradient, coverage(scope, w));
    const dx = scope.aten('aten::avg_pool2d_backward', spread, image(scope, input!, w, 0), w.size, w.strides, w.padding, false, false, null);
    return scope.output(nhwc(scope, unpadded(scope, dx, w)), 'float32', input!.shape);
  });
}
