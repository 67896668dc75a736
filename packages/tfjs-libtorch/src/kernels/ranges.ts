import type { DataType } from '@tensorflow/tfjs-core';
import { FLOAT32 } from '../addon.js';
import { defineKernel, scalarType } from '../kernel.js';

/** Tensors that are made of a rule. */
export function registerRanges(): void {
  defineKernel<{ start: number; stop: number; step: number; dtype?: DataType }>('Range', (scope, _inputs, { start, stop, step, dtype = 'float32' }) => {
    // As TF.js: a descent without a step goes down by 1; a step that leads away from the end gives nothing.
    const stride = stop < start && step === 1 ? -1 : step;
    const count = Math.max(0, Math.ceil((stop - start) / stride));
    return scope.output(scope.aten('aten::arange.start_step', start, start + (count > 0 ? stop - start : 0), count > 0 ? stride : 1, scalarType(dtype)), dtype);
  });
  defineKernel<{ start: number; stop: number; num: number }>('LinSpace', (scope, _inputs, { start, stop, num }) => scope.output(scope.aten('aten::linspace', start, stop, num, FLOAT32)));
  defineKernel('Diag', (scope, { x }) => scope.output(scope.aten('aten::reshape', scope.aten('aten::diag_embed', scope.aten('aten::reshape', scope.handle(x!), [-1])), [...x!.shape, ...x!.shape]), x!.dtype));
}
