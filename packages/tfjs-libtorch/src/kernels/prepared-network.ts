import type { Tensor } from '@tensorflow/tfjs-core';
import { addon, deviceInUse } from '../addon.js';
import { defineKernel, nchw, nhwc } from '../kernel.js';

/** A step between numbered values; 0 are the pictures. A convolution's filter and bias are the next of those given. A pooling is of 3 x 3, stride 2, padding 1. */
type Step = { kind: 'convolution'; input: number; output: number; add: number; relu: boolean; strides: number; padding: number } | { kind: 'max-pool'; input: number; output: number };
/** Scale 0: in the network's precision; another: in bytes, as whole multiples of it. */
interface Value { scale: number; signed: boolean }

/** All convolutions of a network in one call, where the library that libtorch computes with is there in a version that we know. */
export function registerPreparedNetwork(): void {
  const { prepareNetwork, runNetwork, multipliesBytes } = addon();
  if (!prepareNetwork || !runNetwork || deviceInUse() !== 'cpu') return;

  /** Filters [out, in, height, width] and biases [out] → a tensor that stands for the network; disposing it lets the network go. */
  defineKernel<{ steps: Step[]; values: Value[]; precision: 'float32' | 'bfloat16' }>('PrepareNetwork', (scope, inputs, { steps, values, precision }) => {
    const { filters, biases } = inputs as unknown as { filters: Tensor[]; biases: Tensor[] };
    let next = 0;
    const given = steps.map((step) => {
      if (step.kind !== 'convolution') return step;
      const i = next++;
      return { ...step, filter: scope.handle(filters[i]!), bias: scope.handle(biases[i]!) };
    });
    return scope.output(scope.own(prepareNetwork(given, values, precision === 'bfloat16')), 'bool');
  });

  // One computation under two names: that of the second says that the processor multiplies bytes, without which sums may overflow.
  for (const name of ['PreparedNetwork', ...(multipliesBytes ? ['PreparedNetworkInBytes'] : [])])
    /** Pictures [batch, height, width, channels] → the last step's value, NHWC. */
    defineKernel(name, (scope, { network, x }) => scope.output(nhwc(scope, scope.own(runNetwork(scope.handle(network!), nchw(scope, scope.handle(x!)))))));
}
