import { backend_util } from '@tensorflow/tfjs-core';
import { defineKernel } from '../kernel.js';

/** Kernels that trade places between axes: batch, space and depth; and padding that mirrors. */
export function registerSpace(): void {
  defineKernel<{ blockShape: number[]; paddings: [number, number][] }>('SpaceToBatchND', (scope, { x }, { blockShape, paddings }) => {
    const product = blockShape.reduce((p, n) => p * n, 1);
    const all: [number, number][] = [[0, 0], ...paddings, ...Array.from({ length: x!.shape.length - 1 - blockShape.length }, (): [number, number] => [0, 0])];
    const shape = x!.shape.map((size, axis) => size + all[axis]![0] + all[axis]![1]);
    const wide = scope.aten('aten::constant_pad_nd', scope.handle(x!), [...all].reverse().flat(), 0);
    const split = scope.aten('aten::reshape', wide, backend_util.getReshaped(shape, blockShape, product, false));
    const permuted = scope.aten('aten::permute', split, backend_util.getPermuted(backend_util.getReshaped(shape, blockShape, product, false).length, blockShape.length, false));
    return scope.output(scope.aten('aten::reshape', permuted, backend_util.getReshapedPermuted(shape, blockShape, product, false)), x!.dtype);
  });
  defineKernel<{ blockShape: number[]; crops: number[][] }>('BatchToSpaceND', (scope, { x }, { blockShape, crops }) => {
    const product = blockShape.reduce((p, n) => p * n, 1);
    const reshaped = backend_util.getReshaped(x!.shape, blockShape, product);
    const joined = backend_util.getReshapedPermuted(x!.shape, blockShape, product);
    const permuted = scope.aten('aten::permute', scope.aten('aten::reshape', scope.handle(x!), reshaped), backend_util.getPermuted(reshaped.length, blockShape.length));
    const begin = backend_util.getSliceBeginCoords(crops, blockShape.length), sizes = backend_util.getSliceSize(joined, crops, blockShape.length);
    let y = scope.aten('aten::reshape', permuted, joined);
    sizes.forEach((size, axis) => (y = scope.aten('aten::narrow', y, axis, begin[axis], size)));
    return scope.output(y, x!.dtype);
  });
  defineKernel<{ blockSize: number; dataFormat: string }>('DepthToSpace', (scope, { x }, { blockSize, dataFormat }) => {
    if (dataFormat !== 'NHWC') throw new Error('the libtorch backend takes NHWC tensors');
    const [batch, height, width, depth] = x!.shape as [number, number, number, number];
    const channels = depth / blockSize ** 2;
    const split = scope.aten('aten::reshape', scope.handle(x!), [batch, height, width, blockSize, blockSize, channels]);
    return scope.output(scope.aten('aten::reshape', scope.aten('aten::permute', split, [0, 1, 3, 2, 4, 5]), [batch, height * blockSize, width * blockSize, channels]), x!.dtype);
  });
  defineKernel<{ paddings: [number, number][]; mode: 'reflect' | 'symmetric' }>('MirrorPad', (scope, { x }, { paddings, mode }) => {
    const edge = mode === 'reflect' ? 0 : 1;
    let y = scope.aten('aten::alias', scope.handle(x!));
    paddings.forEach(([before, after], axis) => {
      const length = x!.shape[axis]!;
      const places = Int32Array.from({ length: before + length + after }, (_, i) => {
        const at = i - before;
        return at < 0 ? -at - edge : at < length ? at : 2 * (length - 1) - at + edge;
      });
      y = scope.aten('aten::index_select', y, axis, scope.data(places));
    });
    return scope.output(y, x!.dtype);
  });
  defineKernel('FlipLeftRight', (scope, { image }) => scope.output(scope.aten('aten::flip', scope.handle(image!), [2]), image!.dtype));
}
