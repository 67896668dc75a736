import { addon, deviceInUse } from '../addon.js';
import { defineKernel, nchw, nhwc } from '../kernel.js';

/**
 * Convolutions for inference, where the library that libtorch computes with is there in a version that we know: core looks for these
 * kernels by name, and composes convolution, sum and ReLU where they are missing.
 */
export function registerPreparedConvolution(): void {
  const { prepareConvolution, runConvolution } = addon();
  if (!prepareConvolution || !runConvolution || deviceInUse() !== 'cpu') return;

  /** Filter [out, in, height, width] and bias [out] → a tensor that stands for the convolution; disposing it lets the convolution go. */
  defineKernel<{ strides: number; padding: number; precision: 'float32' | 'bfloat16' }>('PrepareConvolution', (scope, { filter, bias }, { strides, padding, precision }) =>
    scope.output(scope.own(prepareConvolution(scope.handle(filter!), scope.handle(bias!), strides, padding, precision === 'bfloat16')), 'bool'));

  /** y = relu(convolution(x) + bias + summand), NHWC; y lies where the summand lay. */
  defineKernel<{ relu: boolean }>('PreparedConvolution', (scope, { prepared, x, summand }, { relu }) =>
    scope.output(nhwc(scope, scope.own(runConvolution(scope.handle(prepared!), nchw(scope, scope.handle(x!)), summand ? nchw(scope, scope.handle(summand)) : null, relu)))));
}
