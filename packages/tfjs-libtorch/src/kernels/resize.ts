import { FLOAT32, type Handle } from '../addon.js';
import { type KernelScope, defineKernel } from '../kernel.js';

interface ResizeAttrs { alignCorners: boolean; halfPixelCenters: boolean; size: [height: number, width: number] }

/** For each place of an axis of the result: the places of the input that it lies between, and how near it is to the second. */
interface Mixing { low: Int32Array; high: Int32Array; weight: Float32Array }

/** Where TF.js's three conventions put the result's places in the input. ATen knows two of them, so the mixing is spelt out. */
function positions(input: number, output: number, { alignCorners, halfPixelCenters }: ResizeAttrs): number[] {
  const corners = alignCorners && output > 1;
  const scale = (corners ? input - 1 : input) / (corners ? output - 1 : output);
  return Array.from({ length: output }, (_, i) => (halfPixelCenters ? scale * (i + 0.5) - 0.5 : scale * i));
}

function mixing(input: number, output: number, attrs: ResizeAttrs): Mixing {
  const at = positions(input, output, attrs);
  const low = Int32Array.from(at, (p) => Math.max(0, Math.floor(p)));
  return { low, high: Int32Array.from(at, (p) => Math.min(input - 1, Math.max(0, Math.ceil(p)))), weight: Float32Array.from(at, (p, i) => p - low[i]!) };
}

function nearestPlaces(input: number, output: number, attrs: ResizeAttrs): Int32Array {
  const shift = attrs.halfPixelCenters ? 0.5 : 0;
  return Int32Array.from(positions(input, output, attrs), (p) => Math.max(0, Math.min(input - 1, attrs.alignCorners ? Math.round(p + shift) : Math.floor(p + shift))));
}

/** A weight for each place of an axis, to be multiplied with a tensor of rank 4. */
const along = (scope: KernelScope, weight: Float32Array, axis: number): Handle => scope.data(weight, [1, 2, 3].map((a) => (a === axis ? weight.length : 1)));

/** x mixed along an axis. */
function mix(scope: KernelScope, x: Handle, axis: number, { low, high, weight }: Mixing): Handle {
  const a = scope.aten('aten::index_select', x, axis, scope.data(low)), b = scope.aten('aten::index_select', x, axis, scope.data(high));
  return scope.aten('aten::add.Tensor', a, scope.aten('aten::mul.Tensor', scope.aten('aten::sub.Tensor', b, a), along(scope, weight, axis)));
}

/** The gradient of `mix`. */
function unmix(scope: KernelScope, dy: Handle, axis: number, { low, high, weight }: Mixing, shape: number[]): Handle {
  const toHigh = scope.aten('aten::mul.Tensor', dy, along(scope, weight, axis)), toLow = scope.aten('aten::sub.Tensor', dy, toHigh);
  return scope.aten('aten::index_add', scope.aten('aten::index_add', scope.aten('aten::zeros', shape, FLOAT32), axis, scope.data(low), toLow), axis, scope.data(high), toHigh);
}

type Shape4D = [number, number, number, number];

/** Resizing of [batch, height, width, channels], and the gradients. */
export function registerResize(): void {
  const wide = (scope: KernelScope, x: Handle) => scope.aten('aten::to.dtype', x, FLOAT32);
  defineKernel<ResizeAttrs>('ResizeBilinear', (scope, { images }, attrs) => {
    const [, height, width] = images!.shape as Shape4D;
    return scope.output(mix(scope, mix(scope, wide(scope, scope.handle(images!)), 1, mixing(height, attrs.size[0], attrs)), 2, mixing(width, attrs.size[1], attrs)));
  });
  defineKernel<ResizeAttrs>('ResizeBilinearGrad', (scope, { images, dy }, attrs) => {
    const [batch, height, width, channels] = images!.shape as Shape4D, [, outHeight, outWidth] = dy!.shape as Shape4D;
    const rows = unmix(scope, wide(scope, scope.handle(dy!)), 2, mixing(width, outWidth, attrs), [batch, outHeight, width, channels]);
    return scope.output(unmix(scope, rows, 1, mixing(height, outHeight, attrs), [batch, height, width, channels]));
  });
  defineKernel<ResizeAttrs>('ResizeNearestNeighbor', (scope, { images }, attrs) => {
    const [, height, width] = images!.shape as Shape4D;
    const rows = scope.aten('aten::index_select', scope.handle(images!), 1, scope.data(nearestPlaces(height, attrs.size[0], attrs)));
    return scope.output(scope.aten('aten::index_select', rows, 2, scope.data(nearestPlaces(width, attrs.size[1], attrs))), images!.dtype);
  });
  defineKernel<ResizeAttrs>('ResizeNearestNeighborGrad', (scope, { images, dy }, attrs) => {
    const [batch, height, width, channels] = images!.shape as Shape4D, [, outHeight, outWidth] = dy!.shape as Shape4D;
    const rows = scope.aten('aten::index_add', scope.aten('aten::zeros', [batch, outHeight, width, channels], FLOAT32), 2, scope.data(nearestPlaces(width, outWidth, attrs)), wide(scope, scope.handle(dy!)));
    return scope.output(scope.aten('aten::index_add', scope.aten('aten::zeros', [batch, height, width, channels], FLOAT32), 1, scope.data(nearestPlaces(height, outHeight, attrs)), rows));
  });
}
