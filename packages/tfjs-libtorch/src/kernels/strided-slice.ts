import { slice_util } from '@tensorflow/tfjs-core';
import type { Handle } from '../addon.js';
import { type KernelScope, defineKernel } from '../kernel.js';

interface StridedSliceAttrs { begin: number[]; end: number[]; strides: number[]; beginMask: number; endMask: number; ellipsisMask: number; newAxisMask: number; shrinkAxisMask: number }

/** NumPy's x[begin:end:stride, …]. TF.js resolves masks and negative positions. */
export function registerStridedSlice(): void {
  defineKernel<StridedSliceAttrs>('StridedSlice', (scope, { x }, a) => {
    const slice = slice_util.sliceInfo(x!.shape, a.begin, a.end, a.strides, a.beginMask, a.endMask, a.ellipsisMask, a.newAxisMask, a.shrinkAxisMask);
    let y = scope.aten('aten::alias', scope.handle(x!));
    if (slice.isIdentity) return scope.output(scope.aten('aten::reshape', y, slice.finalShape), x!.dtype);
    const counts = slice_util.computeOutShape(slice.begin, slice.end, slice.strides);
    counts.forEach((count, axis) => (y = stepped(scope, y, axis, x!.shape[axis]!, slice.begin[axis]!, slice.strides[axis]!, count)));
    return scope.output(scope.aten('aten::reshape', y, slice.finalShape), x!.dtype);
  });
}

/** `count` values of an axis from `begin`, each `stride` further. ATen steps forward only: for a step back the axis is turned round. */
function stepped(scope: KernelScope, x: Handle, axis: number, length: number, begin: number, stride: number, count: number): Handle {
  if (count <= 0) return scope.aten('aten::narrow', x, axis, 0, 0);
  const back = stride < 0;
  const from = back ? length - 1 - begin : begin, step = Math.abs(stride);
  return scope.aten('aten::slice.Tensor', back ? scope.aten('aten::flip', x, [axis]) : x, axis, from, from + (count - 1) * step + 1, step);
}
