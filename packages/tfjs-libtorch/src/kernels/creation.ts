import type { DataType, TensorInfo } from '@tensorflow/tfjs-core';
import { COMPLEX64, FLOAT32 } from '../addon.js';
import { defineKernel, scalarType } from '../kernel.js';

export function registerCreation(): void {
  defineKernel<{ shape: number[]; value: number; dtype?: DataType }>('Fill', (scope, _inputs, { shape, value, dtype = 'float32' }) =>
    scope.output(scope.aten('aten::full', shape, value, scalarType(dtype)), dtype, shape));
  defineKernel('ZerosLike', (scope, { x }) => scope.output(scope.aten('aten::zeros_like', scope.handle(x!), x!.dtype === 'float32' ? FLOAT32 : undefined), x!.dtype, x!.shape));
  defineKernel('OnesLike', (scope, { x }) => scope.output(scope.aten('aten::ones_like', scope.handle(x!), x!.dtype === 'float32' ? FLOAT32 : undefined), x!.dtype, x!.shape));
  // A tensor that shares the other's memory: TF.js counts who holds it.
  defineKernel('Identity', (scope, { x }): TensorInfo => {
    scope.backend.incRef(x!.dataId);
    return { dataId: x!.dataId, shape: x!.shape, dtype: x!.dtype };
  });
  defineKernel<{ dtype: DataType }>('Cast', (scope, { x }, { dtype }) => {
    if (dtype === x!.dtype) {
      scope.backend.incRef(x!.dataId);
      return { dataId: x!.dataId, shape: x!.shape, dtype };
    }
    // Of a complex number the real part goes on.
    const values = x!.dtype === 'complex64' && scalarType(dtype) !== COMPLEX64 ? scope.aten('aten::real', scope.handle(x!)) : scope.handle(x!);
    return scope.output(scope.aten('aten::to.dtype', values, scalarType(dtype)), dtype, x!.shape);
  });
  defineKernel('Select', (scope, { condition, t, e }) => scope.output(scope.aten('aten::where.self', scope.handle(condition!), scope.handle(t!), scope.handle(e!)), t!.dtype));
  defineKernel<{ clipValueMin: number; clipValueMax: number }>('ClipByValue', (scope, { x }, { clipValueMin, clipValueMax }) =>
    scope.output(scope.aten('aten::clamp', scope.handle(x!), clipValueMin, clipValueMax), x!.dtype, x!.shape));
  defineKernel<{ alpha: number }>('Step', (scope, { x }, { alpha }) => {
    const positive = scope.aten('aten::to.dtype', scope.aten('aten::gt.Scalar', scope.handle(x!), 0), FLOAT32);
    const y = scope.aten('aten::add.Scalar', scope.aten('aten::mul.Scalar', positive, 1 - alpha), alpha);
    return scope.output(scope.aten('aten::where.self', scope.aten('aten::isnan', scope.handle(x!)), scope.handle(x!), y), x!.dtype, x!.shape);
  });
}
