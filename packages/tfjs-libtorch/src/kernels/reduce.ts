import { type DataType, type TensorInfo, util } from '@tensorflow/tfjs-core';
import { type Handle, INT32 } from '../addon.js';
import { type KernelScope, defineKernel, scalarType } from '../kernel.js';

/** TF.js calls Max's axes `reductionIndices`, everybody else's `axis`. */
interface ReduceAttrs { axis?: number | number[] | null; reductionIndices?: number | number[]; keepDims?: boolean }

/** The axes that TF.js means: none given is all of them. */
const axes = (x: TensorInfo, axis: ReduceAttrs['axis']): number[] => util.parseAxisParam(axis ?? (null as unknown as number[]), x.shape);

/** Reductions over several axes at once. An empty list of axes reduces nothing. */
function defineReduction(kernel: string, operator: string, dtypeOf: (x: TensorInfo) => DataType): void {
  defineKernel<ReduceAttrs>(kernel, (scope, { x }, { axis, reductionIndices, keepDims = false }) => {
    const over = axes(x!, reductionIndices ?? axis);
    const dtype = dtypeOf(x!);
    const input = x!.dtype === dtype ? scope.handle(x!) : scope.aten('aten::to.dtype', scope.handle(x!), scalarType(dtype));
    if (over.length === 0) return scope.output(scope.aten('aten::clone', input), dtype, x!.shape);
    const y = scope.aten(operator, input, over, keepDims);
    return scope.output(dtype === 'int32' ? scope.aten('aten::to.dtype', y, INT32) : y, dtype);
  });
}

/** Reductions that ATen does over one axis: the axes go from the last to the first. */
function reduceEach(scope: KernelScope, operator: string, x: TensorInfo, { axis, keepDims = false }: ReduceAttrs): number {
  let y = scope.aten('aten::alias', scope.handle(x));
  for (const dimension of axes(x, axis).sort((a, b) => b - a)) y = scope.aten(operator, y, dimension, keepDims);
  return y;
}

/** Values as argmax and argmin take them. To TF.js a NaN is never the largest nor the smallest; to ATen it is both. */
function comparable(scope: KernelScope, x: TensorInfo, last: number): Handle {
  const values = scope.handle(x);
  if (x.dtype === 'float32') return scope.aten('aten::masked_fill.Scalar', values, scope.aten('aten::isnan', values), last);
  return x.dtype === 'bool' ? scope.aten('aten::to.dtype', values, INT32) : values;
}

export function registerReductions(): void {
  const summed = (x: TensorInfo): DataType => (x.dtype === 'bool' ? 'int32' : x.dtype);
  defineReduction('Sum', 'aten::sum.dim_IntList', summed);
  defineReduction('Mean', 'aten::mean.dim', () => 'float32');
  defineReduction('Max', 'aten::amax', (x) => x.dtype);
  defineReduction('Min', 'aten::amin', (x) => x.dtype);
  defineKernel<ReduceAttrs>('Prod', (scope, { x }, attrs) => {
    const y = reduceEach(scope, 'aten::prod.dim_int', x!, attrs);
    return scope.output(x!.dtype === 'float32' ? y : scope.aten('aten::to.dtype', y, INT32), summed(x!));
  });
  defineKernel<ReduceAttrs>('All', (scope, { x }, attrs) => scope.output(reduceEach(scope, 'aten::all.dim', x!, attrs), 'bool'));
  defineKernel<ReduceAttrs>('Any', (scope, { x }, attrs) => scope.output(reduceEach(scope, 'aten::any.dim', x!, attrs), 'bool'));
  for (const [kernel, operator, last] of [['ArgMax', 'aten::argmax', -Infinity], ['ArgMin', 'aten::argmin', Infinity]] as const) {
    defineKernel<{ axis: number }>(kernel, (scope, { x }, { axis }) => scope.output(scope.aten('aten::to.dtype', scope.aten(operator, comparable(scope, x!, last), axis, false), INT32), 'int32'));
  }
}
