import { type TensorInfo, unregisterKernel } from '@tensorflow/tfjs-core';
import { type Addon, type Handle, addon, deviceInUse } from '../addon.js';
import { BACKEND_NAME, type Inputs, type KernelScope, defineKernel } from '../kernel.js';

interface BatchNormAttrs { training: boolean; momentum: number; epsilon: number; relu: boolean; inPlace: boolean }
interface BatchNormBackwardAttrs { epsilon: number; relu: boolean; needsInput: boolean; needsParameters: boolean; needsSum: boolean }
interface ConvolutionAttrs { strides: number; padding: number }

/** Whether several steps are done in one, and with fewer multiplications. */
export const fusion = { wanted: false };

export const FUSED_KERNELS = ['BatchNormActivation', 'BatchNormActivationBackward', 'PackFilter', 'PackedConv2D', 'PackedConv2DInputGradient', 'PackedConv2DFilterGradient'];

/**
 * Kernels that do several steps of a network in one; core looks for them by name, and composes where they are missing. Whether they are
 * there is for `useFusion` to say, which the environment variable CHAMELEON_FUSION=off does at the start.
 */
export function registerFusion(): void {
  fusion.wanted = true;
  // They are written for the processor.
  if (deviceInUse() !== 'cpu') return;
  registerBatchNorm();
  const { packFilter, packedConvolution, packedConvolutionInputGradient, packedConvolutionFilterGradient } = addon();
  if (packFilter && packedConvolution && packedConvolutionInputGradient && packedConvolutionFilterGradient) {
    registerConvolution({ packFilter, packedConvolution, packedConvolutionInputGradient, packedConvolutionFilterGradient });
  }
}

export function unregisterFusion(registered: (name: string) => boolean): void {
  fusion.wanted = false;
  for (const name of FUSED_KERNELS) if (registered(name)) unregisterKernel(name, BACKEND_NAME);
}

const optional = (scope: KernelScope, x: TensorInfo | undefined): Handle | null => (x ? scope.handle(x) : null);

function registerBatchNorm(): void {
  /** relu(BatchNorm(x) + summand) → y; with the batch's statistics also these, mean and 1/deviation, and the running ones after it. `inPlace`: x becomes y. */
  defineKernel<BatchNormAttrs>('BatchNormActivation', (scope, { x, scale, shift, mean, variance, summand }: Inputs, attrs) => {
    const handles = addon().fusedBatchNorm(scope.handle(x!), scope.handle(scale!), scope.handle(shift!), scope.handle(mean!), scope.handle(variance!), optional(scope, summand), attrs);
    return handles.map((handle, i) => scope.output(scope.own(handle), 'float32', i === 0 ? x!.shape : scale!.shape));
  });

  /** → the gradients that were asked for, in the order input, scale, shift, summand. `y` is ReLU's output, for where something was added before it. */
  defineKernel<BatchNormBackwardAttrs>('BatchNormActivationBackward', (scope, { dy, x, y, scale, shift, mean, variance, batchMean, inverseDeviation }: Inputs, attrs) => {
    const handles = addon().fusedBatchNormBackward(scope.handle(dy!), scope.handle(x!), optional(scope, y), scope.handle(scale!), scope.handle(shift!), scope.handle(mean!), scope.handle(variance!),
      optional(scope, batchMean), optional(scope, inverseDeviation), attrs);
    return handles.flatMap((handle, i) => (handle === null ? [] : [scope.output(scope.own(handle), 'float32', i === 0 || i === 3 ? x!.shape : scale!.shape)]));
  });
}

type Packing = Required<Pick<Addon, 'packFilter' | 'packedConvolution' | 'packedConvolutionInputGradient' | 'packedConvolutionFilterGradient'>>;

/** Convolutions by oneDNN itself. A filter that changes is given as it is, in float32; one that doesn't as a pack. */
function registerConvolution(native: Packing): void {
  const filterOf = (scope: KernelScope, { filter, pack }: Inputs): Handle => scope.handle((pack ?? filter)!);

  /** A filter → a tensor that stands for it; disposing it lets go of its layouts. */
  defineKernel('PackFilter', (scope, { filter }) => scope.output(scope.own(native.packFilter(scope.handle(filter!))), 'bool'));

  /**
   * relu(BatchNorm(convolution(x)) + summand), BatchNorm where its tensors are given. `spent`: nobody reads the summand afterwards; where
   * nobody else holds its values, the result takes their place.
   */
  defineKernel<ConvolutionAttrs & { relu: boolean; spent: boolean; epsilon?: number }>('PackedConv2D', (scope, inputs, { strides, padding, relu, spent, epsilon = 0 }) => {
    const inPlace = spent && inputs.summand !== undefined && scope.backend.refCount(inputs.summand.dataId) === 1;
    const norm = inputs.scale ? ['scale', 'shift', 'mean', 'variance'].map((name) => scope.handle(inputs[name]!)) : null;
    return scope.output(scope.own(native.packedConvolution(scope.handle(inputs.x!), filterOf(scope, inputs), optional(scope, inputs.summand), strides, padding, relu, inPlace, norm, epsilon)));
  });

  defineKernel<ConvolutionAttrs & { inputShape: number[] }>('PackedConv2DInputGradient', (scope, inputs, { strides, padding, inputShape }) =>
    scope.output(scope.own(native.packedConvolutionInputGradient(scope.handle(inputs.dy!), filterOf(scope, inputs), inputShape, strides, padding)), 'float32', inputShape));

  defineKernel<ConvolutionAttrs & { filterShape: number[] }>('PackedConv2DFilterGradient', (scope, { dy, x }, { strides, padding, filterShape }) =>
    scope.output(scope.own(native.packedConvolutionFilterGradient(scope.handle(dy!), scope.handle(x!), filterShape, strides, padding)), 'float32', filterShape));
}
