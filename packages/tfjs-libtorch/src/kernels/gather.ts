import { type TensorInfo, backend_util } from '@tensorflow/tfjs-core';
import { FLOAT32, type Handle, INT32, INT64 } from '../addon.js';
import { type KernelScope, defineKernel, scalarType } from '../kernel.js';

/** Kernels that read or write at positions which a tensor gives. */
export function registerGather(): void {
  defineKernel<{ axis: number; batchDims: number }>('GatherV2', (scope, { x, indices }, { axis, batchDims }) => {
    const info = backend_util.segment_util.collectGatherOpShapeInfo(x!, indices!, axis, batchDims);
    const positions = scope.aten('aten::to.dtype', scope.handle(indices!), INT64);
    if (batchDims === 0) return scope.output(scope.aten('aten::reshape', scope.aten('aten::index_select', scope.handle(x!), axis, scope.aten('aten::reshape', positions, [-1])), info.outputShape), x!.dtype);
    const { batchSize, outerSize, dimSize, sliceSize } = info;
    const count = indices!.shape.slice(batchDims).reduce((product, size) => product * size, 1);
    const flat = scope.aten('aten::reshape', scope.handle(x!), [batchSize, outerSize, dimSize, sliceSize]);
    const spread = scope.aten('aten::expand', scope.aten('aten::reshape', positions, [batchSize, 1, count, 1]), [batchSize, outerSize, count, sliceSize]);
    return scope.output(scope.aten('aten::reshape', scope.aten('aten::gather', flat, 2, spread), info.outputShape), x!.dtype);
  });
  defineKernel('GatherNd', (scope, { params, indices }) => {
    const [resultShape, sliceCount, sliceSize, strides] = backend_util.prepareAndValidate(params!, indices!);
    const rows = scope.aten('aten::reshape', scope.handle(params!), [-1, sliceSize]);
    const picked = scope.aten('aten::index_select', rows, 0, flatPositions(scope, indices!, sliceCount, strides));
    return scope.output(scope.aten('aten::reshape', picked, resultShape), params!.dtype);
  });
  // Several updates of one place are summed.
  defineKernel<{ shape: number[] }>('ScatterNd', (scope, { indices, updates }, { shape }) => {
    const { numUpdates, sliceSize, strides, outputSize } = backend_util.calculateShapes(updates!, indices!, shape);
    const empty = scope.aten('aten::zeros', [sliceSize === 0 ? 0 : outputSize / sliceSize, sliceSize], scalarType(updates!.dtype));
    const added = scope.aten('aten::index_add', empty, 0, flatPositions(scope, indices!, numUpdates, strides), scope.aten('aten::reshape', scope.handle(updates!), [numUpdates, sliceSize]));
    return scope.output(scope.aten('aten::reshape', added, shape), updates!.dtype);
  });
  // Of several values for one place the last stays; where none is, the default.
  defineKernel<{ outputShape: number[] }>('SparseToDense', (scope, { sparseIndices, sparseValues, defaultValue }, { outputShape }) => {
    const { numUpdates, sliceSize, strides, outputSize } = backend_util.calculateShapes(sparseValues!, sparseIndices!, outputShape);
    const rows = scope.aten('aten::expand', scope.aten('aten::reshape', scope.handle(defaultValue!), [1, 1]), [outputSize / sliceSize, sliceSize]);
    const values = scope.aten('aten::expand', scope.aten('aten::reshape', scope.handle(sparseValues!), sparseValues!.shape.length === 0 ? [1, 1] : [-1, sliceSize]), [numUpdates, sliceSize]);
    const written = scope.aten('aten::index_copy', scope.aten('aten::contiguous', rows), 0, flatPositions(scope, sparseIndices!, numUpdates, strides), values);
    return scope.output(scope.aten('aten::reshape', written, outputShape), sparseValues!.dtype);
  });
  defineKernel('TensorScatterUpdate', (scope, { tensor, indices, updates }) => {
    const { numUpdates, sliceSize, strides } = backend_util.calculateShapes(updates!, indices!, tensor!.shape);
    const rows = scope.aten('aten::reshape', scope.handle(tensor!), [-1, sliceSize]);
    const written = scope.aten('aten::index_copy', rows, 0, flatPositions(scope, indices!, numUpdates, strides), scope.aten('aten::reshape', scope.handle(updates!), [numUpdates, sliceSize]));
    return scope.output(scope.aten('aten::reshape', written, tensor!.shape), tensor!.dtype);
  });
  // The gradient of a gather: rows of one segment are summed, rows of a segment that isn't there are left out.
  defineKernel<{ numSegments: number }>('UnsortedSegmentSum', (scope, { x, segmentIds }, { numSegments }) => {
    const rank = segmentIds!.shape.length, inner = x!.shape.slice(rank);
    const ids = scope.aten('aten::reshape', scope.aten('aten::to.dtype', scope.handle(segmentIds!), INT64), [-1]);
    const absent = scope.aten('aten::logical_or', scope.aten('aten::lt.Scalar', ids, 0), scope.aten('aten::ge.Scalar', ids, numSegments));
    const places = scope.aten('aten::masked_fill.Scalar', ids, absent, numSegments);
    const empty = scope.aten('aten::zeros', [numSegments + 1, ...inner], scalarType(x!.dtype));
    const summed = scope.aten('aten::index_add', empty, 0, places, scope.aten('aten::reshape', wide(scope, x!), [segmentIds!.shape.reduce((p, n) => p * n, 1), ...inner]));
    return scope.output(scope.aten('aten::narrow', summed, 0, 0, numSegments), x!.dtype);
  });
  defineKernel<{ depth: number; onValue: number; offValue: number; dtype?: TensorInfo['dtype'] }>('OneHot', (scope, { indices }, { depth, onValue, offValue, dtype = 'int32' }) => {
    const range = scope.aten('aten::arange', depth, INT32);
    const hit = scope.aten('aten::eq.Tensor', scope.aten('aten::unsqueeze', scope.handle(indices!), -1), range);
    const y = scope.aten('aten::add.Scalar', scope.aten('aten::mul.Scalar', scope.aten('aten::to.dtype', hit, FLOAT32), onValue - offValue), offValue);
    return scope.output(scope.aten('aten::to.dtype', y, scalarType(dtype)), dtype);
  });
}

/** Values that sums go over are float32 where they are activations in bfloat16. */
const wide = (scope: KernelScope, x: TensorInfo): Handle => scope.aten('aten::to.dtype', scope.handle(x), scalarType(x.dtype));

/** Positions [count, rank] as positions in the flattened leading axes. */
function flatPositions(scope: KernelScope, indices: TensorInfo, count: number, strides: number[]): Handle {
  // Positions of rank 1 are a list of single numbers.
  const rank = indices.shape.length > 1 ? indices.shape[indices.shape.length - 1]! : 1;
  const rows = scope.aten('aten::to.dtype', scope.aten('aten::reshape', scope.handle(indices), [count, rank]), INT64);
  return scope.aten('aten::sum.dim_IntList', scope.aten('aten::mul.Tensor', rows, scope.data(Int32Array.from(strides.slice(0, rank)))), [1], false);
}
