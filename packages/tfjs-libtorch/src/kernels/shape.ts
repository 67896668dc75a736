import type { TensorInfo } from '@tensorflow/tfjs-core';
import { backend_util, slice_util, util } from '@tensorflow/tfjs-core';
import { defineKernel } from '../kernel.js';

/** Kernels that move values and compute nothing. Reshape, Transpose and Slice are views where memory allows. */
export function registerShapes(): void {
  defineKernel<{ shape: number[] }>('Reshape', (scope, { x }, { shape }) => scope.output(scope.aten('aten::reshape', scope.handle(x!), shape), x!.dtype));
  defineKernel<{ dim: number }>('ExpandDims', (scope, { input }, { dim }) => scope.output(scope.aten('aten::unsqueeze', scope.handle(input!), dim), input!.dtype));
  defineKernel<{ perm: number[] }>('Transpose', (scope, { x }, { perm }) => scope.output(scope.aten('aten::permute', scope.handle(x!), perm), x!.dtype));
  defineKernel<{ reps: number[] }>('Tile', (scope, { x }, { reps }) => scope.output(scope.aten('aten::repeat', scope.handle(x!), reps), x!.dtype));
  defineKernel<{ begin: number[]; size: number[] }>('Slice', (scope, { x }, { begin, size }) => {
    const [from, sizes] = slice_util.parseSliceParams(x!, begin, size) as [number[], number[]];
    slice_util.assertParamsValid(x!, from, sizes);
    let y = scope.aten('aten::alias', scope.handle(x!));
    for (let axis = 0; axis < sizes.length; axis++) y = scope.aten('aten::narrow', y, axis, from[axis], sizes[axis]);
    return scope.output(y, x!.dtype);
  });
  defineKernel<{ axis: number }>('Concat', (scope, inputs, { axis }) => {
    const list = Object.values(inputs);
    const dimension = util.parseAxisParam(axis, list[0]!.shape)[0]!;
    backend_util.assertParamsConsistent(list.map((t) => t.shape), dimension);
    return scope.output(scope.aten('aten::cat', list.map((t) => scope.handle(t)), dimension), list[0]!.dtype);
  });
  defineKernel<{ axis: number }>('Pack', (scope, inputs, { axis }) => {
    const list = Object.values(inputs), [{ shape, dtype }] = list as [TensorInfo];
    const other = list.find((t) => t.dtype !== dtype || !util.arraysEqual(t.shape, shape));
    if (other) throw new Error(`tensors of one shape and dtype can be stacked; there are ${dtype} [${shape.join(', ')}] and ${other.dtype} [${other.shape.join(', ')}]`);
    return scope.output(scope.aten('aten::stack', list.map((t) => scope.handle(t)), axis), list[0]!.dtype);
  });
  defineKernel<{ axis: number }>('Unpack', (scope, { value }, { axis }) => {
    const outputs: TensorInfo[] = [];
    for (let i = 0; i < value!.shape[axis < 0 ? axis + value!.shape.length : axis]!; i++) outputs.push(scope.output(scope.aten('aten::select.int', scope.handle(value!), axis, i), value!.dtype));
    return outputs;
  });
  defineKernel<{ numOrSizeSplits: number | number[]; axis: number }>('SplitV', (scope, { x }, { numOrSizeSplits, axis }) => {
    const dimension = util.parseAxisParam(axis, x!.shape)[0]!;
    let from = 0;
    return backend_util.prepareSplitSize(x! as never, numOrSizeSplits, dimension).map((size) => {
      const part = scope.output(scope.aten('aten::narrow', scope.handle(x!), dimension, from, size), x!.dtype);
      from += size;
      return part;
    });
  });
  defineKernel<{ paddings: [number, number][]; constantValue: number }>('PadV2', (scope, { x }, { paddings, constantValue }) =>
    scope.output(scope.aten('aten::constant_pad_nd', scope.handle(x!), [...paddings].reverse().flat(), constantValue), x!.dtype));
  defineKernel<{ dims: number | number[] }>('Reverse', (scope, { x }, { dims }) =>
    scope.output(scope.aten('aten::flip', scope.handle(x!), util.parseAxisParam(dims, x!.shape)), x!.dtype, x!.shape));
}
