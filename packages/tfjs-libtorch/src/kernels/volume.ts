import { type TensorInfo, backend_util } from '@tensorflow/tfjs-core';
import { FLOAT32, type Handle } from '../addon.js';
import { type KernelScope, defineKernel } from '../kernel.js';

type Triple = [depth: number, height: number, width: number];
type Shape5D = [number, number, number, number, number];
type Padding = 'valid' | 'same' | number;
interface ConvAttrs { strides: number | Triple; pad: 'valid' | 'same'; dilations?: number | Triple; filterShape?: Shape5D; inputShape?: Shape5D }
interface PoolAttrs { filterSize: number | Triple; strides: number | Triple; pad: Padding; dimRoundingMode?: 'floor' | 'round' | 'ceil'; dataFormat?: 'NDHWC' | 'NCDHW' }

/** How a window walks over a volume. The tensor is padded first, by what the last window needs. */
interface Walk { strides: Triple; size: Triple; dilations: Triple; before: number[] | null; from: Triple; length: Triple; outShape: number[] }

function walkOf(info: backend_util.Conv3DInfo): Walk {
  const { front, top, left } = info.padInfo;
  const behind = (out: number, stride: number, window: number, length: number, near: number) => Math.max(0, (out - 1) * stride + window - length - near);
  const back = behind(info.outDepth, info.strideDepth, info.effectiveFilterDepth, info.inDepth, front);
  const bottom = behind(info.outHeight, info.strideHeight, info.effectiveFilterHeight, info.inHeight, top);
  const right = behind(info.outWidth, info.strideWidth, info.effectiveFilterWidth, info.inWidth, left);
  const before = [left, right, top, bottom, front, back];
  return {
    strides: [info.strideDepth, info.strideHeight, info.strideWidth], size: [info.filterDepth, info.filterHeight, info.filterWidth],
    dilations: [info.dilationDepth, info.dilationHeight, info.dilationWidth], before: before.some((n) => n > 0) ? before : null,
    from: [front, top, left], length: [info.inDepth, info.inHeight, info.inWidth], outShape: info.outShape,
  };
}

const convolution = (inputShape: Shape5D, filterShape: Shape5D, { strides, pad, dilations = 1 }: ConvAttrs): Walk => walkOf(backend_util.computeConv3DInfo(inputShape, filterShape, strides, dilations, pad));

function pooling(shape: number[], { filterSize, strides, pad, dimRoundingMode, dataFormat = 'NDHWC' }: PoolAttrs): Walk {
  if (dataFormat !== 'NDHWC') throw new Error('3-D pooling of the libtorch backend takes NDHWC tensors');
  return walkOf(backend_util.computePool3DInfo(shape as Shape5D, filterSize, strides, 1, pad, dimRoundingMode));
}

/** TF.js's NDHWC as ATen's NCDHW, and back: views. */
const first = (scope: KernelScope, x: Handle): Handle => scope.aten('aten::permute', x, [0, 4, 1, 2, 3]);
const last = (scope: KernelScope, x: Handle): Handle => scope.aten('aten::permute', x, [0, 2, 3, 4, 1]);
/** A filter [depth, height, width, in, out] as ATen's [out, in, depth, height, width]. */
const filterOf = (scope: KernelScope, filter: Handle): Handle => scope.aten('aten::permute', filter, [4, 3, 0, 1, 2]);

const padded = (scope: KernelScope, x: Handle, { before }: Walk, value: number): Handle => (before === null ? x : scope.aten('aten::constant_pad_nd', x, before, value));

/** The part of a gradient that belongs to the volume as it came. */
function unpadded(scope: KernelScope, dx: Handle, { before, from, length }: Walk): Handle {
  return before === null ? dx : from.reduce((x, start, axis) => scope.aten('aten::narrow', x, axis + 2, start, length[axis]), dx);
}

function gradients(scope: KernelScope, dy: Handle, x: Handle, filter: Handle, w: Walk, mask: [boolean, boolean, boolean]): (Handle | null)[] {
  return scope.atenAll('aten::convolution_backward', dy, x, filter, null, w.strides, [0, 0, 0], w.dilations, false, [0, 0, 0], 1, mask);
}

const average = (scope: KernelScope, x: Handle, w: Walk): Handle => scope.aten('aten::avg_pool3d', x, w.size, w.strides, [0, 0, 0], false, true, null);

/** The part of each window that lies on the volume itself. */
function coverage(scope: KernelScope, w: Walk): Handle {
  const part = average(scope, padded(scope, scope.aten('aten::ones', [1, 1, ...w.length], FLOAT32), w, 0), w);
  // A window that lies beside the volume has an average of zero.
  return scope.aten('aten::clamp', part, 1e-30, null);
}

/** ATen refuses windows that are larger than the volume; to TF.js they leave nothing. */
const isEmpty = ({ outShape }: Walk): boolean => outShape.includes(0);
const zeros = (scope: KernelScope, shape: number[]): TensorInfo => scope.output(scope.aten('aten::zeros', shape, FLOAT32), 'float32', shape);

const maxWithIndices = (scope: KernelScope, x: Handle, w: Walk) => scope.atenAll('aten::max_pool3d_with_indices', x, w.size, w.strides, [0, 0, 0], [1, 1, 1], false) as [Handle, Handle];

/** Values in float32: not every 3-D operator of ATen's takes bfloat16. */
const wide = (scope: KernelScope, x: TensorInfo): Handle => scope.aten('aten::to.dtype', scope.handle(x), FLOAT32);

const image = (scope: KernelScope, x: TensorInfo, w: Walk, value: number): Handle => padded(scope, first(scope, wide(scope, x)), w, value);

/** Convolution and pooling of [batch, depth, height, width, channels]. */
export function registerVolume(): void {
  defineKernel<ConvAttrs>('Conv3D', (scope, { x, filter }, attrs) => {
    const w = convolution(x!.shape as Shape5D, filter!.shape as Shape5D, attrs);
    if (isEmpty(w)) return zeros(scope, w.outShape);
    const y = scope.aten('aten::convolution', image(scope, x!, w, 0), filterOf(scope, wide(scope, filter!)), null, w.strides, [0, 0, 0], w.dilations, false, [0, 0, 0], 1);
    return scope.output(last(scope, y), 'float32', w.outShape);
  });
  defineKernel<ConvAttrs>('Conv3DBackpropInputV2', (scope, { dy, filter }, attrs) => {
    const inputShape = attrs.inputShape!, w = convolution(inputShape, filter!.shape as Shape5D, attrs);
    if (isEmpty(w)) return zeros(scope, inputShape);
    const shape = padded(scope, first(scope, scope.aten('aten::zeros', inputShape, FLOAT32)), w, 0);
    const [dx] = gradients(scope, first(scope, wide(scope, dy!)), shape, filterOf(scope, wide(scope, filter!)), w, [true, false, false]);
    return scope.output(last(scope, unpadded(scope, dx!, w)), 'float32', inputShape);
  });
  defineKernel<ConvAttrs>('Conv3DBackpropFilterV2', (scope, { x, dy }, attrs) => {
    const filterShape = attrs.filterShape!, w = convolution(x!.shape as Shape5D, filterShape, attrs);
    if (isEmpty(w)) return zeros(scope, filterShape);
    const shape = filterOf(scope, scope.aten('aten::zeros', filterShape, FLOAT32));
    const [, dw] = gradients(scope, first(scope, wide(scope, dy!)), image(scope, x!, w, 0), shape, w, [false, true, false]);
    return scope.output(scope.aten('aten::permute', dw!, [2, 3, 4, 1, 0]), 'float32', filterShape);
  });

  defineKernel<PoolAttrs>('AvgPool3D', (scope, { x }, attrs) => {
    const w = pooling(x!.shape, attrs);
    if (isEmpty(w)) return zeros(scope, w.outShape);
    const y = average(scope, image(scope, x!, w, 0), w);
    return scope.output(last(scope, w.before === null ? y : scope.aten('aten::div.Tensor', y, coverage(scope, w))));
  });
  defineKernel<PoolAttrs>('AvgPool3DGrad', (scope, { dy, input }, attrs) => {
    const w = pooling(input!.shape, attrs);
    if (isEmpty(w)) return zeros(scope, input!.shape);
    const gradient = first(scope, wide(scope, dy!));
    const spread = w.before === null ? gradient : scope.aten('aten::div.Tensor', gradient, coverage(scope, w));
    const dx = scope.aten('aten::avg_pool3d_backward', spread, image(scope, input!, w, 0), w.size, w.strides, [0, 0, 0], false, true, null);
    return scope.output(last(scope, unpadded(scope, dx, w)), 'float32', input!.shape);
  });
  defineKernel<PoolAttrs>('MaxPool3D', (scope, { x }, attrs) => {
    const w = pooling(x!.shape, attrs);
    if (isEmpty(w)) return zeros(scope, w.outShape);
    return scope.output(last(scope, maxWithIndices(scope, image(scope, x!, w, -Infinity), w)[0]));
  });
  defineKernel<PoolAttrs>('MaxPool3DGrad', (scope, { dy, input }, attrs) => {
    const w = pooling(input!.shape, attrs);
    if (isEmpty(w)) return zeros(scope, input!.shape);
    const x = image(scope, input!, w, -Infinity);
    const dx = scope.aten('aten::max_pool3d_with_indices_backward', first(scope, wide(scope, dy!)), x, w.size, w.strides, [0, 0, 0], [1, 1, 1], false, maxWithIndices(scope, x, w)[1]);
    return scope.output(last(scope, unpadded(scope, dx, w)), 'float32', input!.shape);
  });
}
