import type { backend_util } from '@tensorflow/tfjs-core';
import type { Handle } from '../addon.js';
import type { KernelScope } from '../kernel.js';

type WindowInfo = Pick<backend_util.Conv2DInfo, 'inHeight' | 'inWidth' | 'outHeight' | 'outWidth' | 'strideHeight' | 'strideWidth' | 'effectiveFilterHeight' | 'effectiveFilterWidth' | 'padInfo'>;

/**
 * How a window walks over an image. ATen pads both sides alike and rounds the output's size down; where TF.js's padding
 * is uneven ("same" over an odd rest) or its output is rounded up, the tensor itself is padded first, by `before`.
 */
export interface Walk {
  strides: [height: number, width: number];
  /** What ATen's operator pads: zero where `before` pads. */
  padding: [height: number, width: number];
  /** Padding of the tensor before the operator, in ATen's order: left, right, top, bottom. Null where it isn't needed. */
  before: [left: number, right: number, top: number, bottom: number] | null;
  /** Of the tensor as it came. */
  height: number;
  width: number;
}

/** @param largest the most that the operator pads by itself */
export function walkOf(info: WindowInfo, largest: [height: number, width: number] = [Infinity, Infinity]): Walk {
  const { top, left } = info.padInfo;
  // Past the last window nothing is read, so the far side's padding is what the last window needs.
  const bottom = (info.outHeight - 1) * info.strideHeight + info.effectiveFilterHeight - info.inHeight - top;
  const right = (info.outWidth - 1) * info.strideWidth + info.effectiveFilterWidth - info.inWidth - left;
  const fits = (near: number, far: number, stride: number, most: number) => far <= near && near - far < stride && near <= most;
  const even = fits(top, bottom, info.strideHeight, largest[0]) && fits(left, right, info.strideWidth, largest[1]);
  const walk = { strides: [info.strideHeight, info.strideWidth] as [number, number], height: info.inHeight, width: info.inWidth };
  return even ? { ...walk, padding: [top, left], before: null } : { ...walk, padding: [0, 0], before: [left, Math.max(0, right), top, Math.max(0, bottom)] };
}

/** An NCHW tensor as the operator takes it. */
export function padded(scope: KernelScope, x: Handle, { before }: Walk, value: number): Handle {
  return before === null ? x : scope.aten('aten::constant_pad_nd', x, before, value);
}

/** The part of an NCHW gradient that belongs to the tensor as it came. */
export function unpadded(scope: KernelScope, dx: Handle, { before, height, width }: Walk): Handle {
  if (before === null) return dx;
  const [left, , top] = before;
  return scope.aten('aten::narrow', scope.aten('aten::narrow', dx, 2, top, height), 3, left, width);
}
