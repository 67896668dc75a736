import { type TensorInfo, backend_util } from '@tensorflow/tfjs-core';
import { BFLOAT16, CHANNELS_LAST, FLOAT32, type Handle, addon } from '../addon.js';
import { type Inputs, type KernelScope, defineKernel, nchw, nhwc } from '../kernel.js';
import { type Activation, activate } from './activation.js';
import { fusion } from './fusion.js';
import { type Walk, padded, unpadded, walkOf } from './window.js';

interface ConvAttrs {
  strides: number | [number, number];
  pad: 'valid' | 'same' | number | [[number, number], [number, number], [number, number], [number, number]];
  dataFormat?: 'NHWC' | 'NCHW';
  dilations?: number | [number, number];
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
}
interface FusedAttrs { activation: Activation; leakyreluAlpha?: number }
type Shape4D = [number, number, number, number];

interface Geometry extends Walk { dilations: number[]; groups: number; outShape: number[]; first: boolean }

/** `depthwise`: each channel has filters of its own, [height, width, channels, filters a channel]. `first`: channels come before height and width. */
function geometry(inputShape: number[], filterShape: number[], attrs: ConvAttrs, depthwise: boolean): Geometry {
  const first = attrs.dataFormat === 'NCHW';
  if (first && depthwise) throw new Error('depthwise convolutions take NHWC tensors');
  const info = backend_util.computeConv2DInfo(inputShape as Shape4D, filterShape as Shape4D, attrs.strides, attrs.dilations ?? 1, attrs.pad, attrs.dimRoundingMode, depthwise, first ? 'channelsFirst' : 'channelsLast');
  return { ...walkOf(info), dilations: [info.dilationHeight, info.dilationWidth], groups: depthwise ? filterShape[2]! : 1, outShape: info.outShape, first };
}

/** A tensor of TF.js's in the order of ATen's, NCHW, and back. */
const toChannelsFirst = (scope: KernelScope, x: Handle, { first }: Geometry): Handle => (first ? x : nchw(scope, x));
const fromChannelsFirst = (scope: KernelScope, y: Handle, { first }: Geometry): Handle => (first ? y : nhwc(scope, y));

/** A value for each channel (or for each place) as it broadcasts over a result. */
function perChannel(scope: KernelScope, t: TensorInfo, { first }: Geometry): Handle {
  return first && t.shape.length === 1 ? scope.aten('aten::reshape', scope.handle(t), [-1, 1, 1]) : scope.handle(t);
}

function checkGradient(dy: TensorInfo, g: Geometry): void {
  if (dy.shape.join() !== g.outShape.join()) throw new Error(`the gradient is of shape [${dy.shape.join(', ')}], but the convolution's result of [${g.outShape.join(', ')}]`);
}

/**
 * A filter [height, width, in, out] as ATen's [out, in, height, width]. Filters that core made lie in memory as
 * [out, height, width, in], which is ATen's channels_last: then this is a view. A depthwise filter
 * [height, width, channels, multiplier] is [channels * multiplier, 1, height, width] to ATen.
 */
function filterOf(scope: KernelScope, { dataId, shape, dtype }: TensorInfo, like: Handle, depthwise: boolean): Handle {
  const filter = scope.handle({ dataId, shape, dtype });
  const [height, width, channels, outputs] = shape as Shape4D;
  const view = depthwise
    ? scope.aten('aten::reshape', scope.aten('aten::permute', filter, [2, 3, 0, 1]), [channels * outputs, 1, height, width])
    : scope.aten('aten::permute', filter, [3, 2, 0, 1]);
  return addon().scalarType(like) === 'BFloat16' && addon().scalarType(filter) !== 'BFloat16' ? scope.aten('aten::to.dtype', view, BFLOAT16) : view;
}

/** A tensor whose shape and layout alone are asked for. */
function shapeOnly(scope: KernelScope, shape: number[], like: Handle): Handle {
  return scope.aten('aten::empty.memory_format', shape, addon().scalarType(like) === 'BFloat16' ? BFLOAT16 : FLOAT32, null, null, null, CHANNELS_LAST);
}

/** What fewer multiplications bring, where the shape allows it and fused kernels are wanted; else null. */
function minimal(scope: KernelScope, { strides, padding, dilations, groups, before, first }: Geometry, compute: () => Handle | null): Handle | null {
  if (!fusion.wanted || first || groups !== 1 || before !== null || [...strides, ...padding, ...dilations].some((value) => value !== 1)) return null;
  const made = compute();
  return made === null ? null : scope.own(made);
}

/** x → y in the same order of axes. ATen 1.13 can't lay out a batch of no pictures, nor a window that is larger than they are. */
function convolve(scope: KernelScope, x: TensorInfo, filter: TensorInfo, bias: TensorInfo | undefined, g: Geometry, depthwise: boolean): Handle {
  if (g.outShape.includes(0)) return scope.aten('aten::zeros', g.outShape, FLOAT32);
  const fewer = bias === undefined ? minimal(scope, g, () => addon().minimalConvolution(scope.handle(x), scope.handle(filter))) : null;
  if (fewer !== null) return fewer;
  const input = padded(scope, toChannelsFirst(scope, scope.handle(x), g), g, 0);
  const joined = bias !== undefined && bias.shape.length <= 1 && bias.shape[0] === (depthwise ? filter.shape[2]! * filter.shape[3]! : filter.shape[3]) && addon().scalarType(input) !== 'BFloat16';
  const y = scope.aten('aten::convolution', input, filterOf(scope, filter, input, depthwise), joined ? scope.handle(bias) : null, g.strides, g.padding, g.dilations, false, [0, 0], g.groups);
  const z = fromChannelsFirst(scope, y, g);
  return bias === undefined || joined ? z : scope.aten('aten::add.Tensor', z, perChannel(scope, bias, g));
}

/** The gradients of a convolution share one operator; the mask says which are computed. */
function backward(scope: KernelScope, dy: Handle, x: Handle, filter: Handle, g: Geometry, mask: [boolean, boolean, boolean]): (Handle | null)[] {
  return scope.atenAll('aten::convolution_backward', dy, x, filter, null, g.strides, g.padding, g.dilations, false, [0, 0], g.groups, mask);
}

function inputGradient(scope: KernelScope, dy: TensorInfo, filter: TensorInfo, inputShape: number[], attrs: ConvAttrs, depthwise: boolean): TensorInfo {
  if (dy.shape.includes(0)) return scope.output(scope.aten('aten::zeros', inputShape, FLOAT32));
  const g = geometry(inputShape, filter.shape, attrs, depthwise);
  checkGradient(dy, g);
  const fewer = minimal(scope, g, () => addon().minimalConvolutionInputGradient(scope.handle(dy), scope.handle(filter)));
  if (fewer !== null) return scope.output(fewer, 'float32', inputShape);
  const gradient = toChannelsFirst(scope, scope.handle(dy), g);
  const { height, width } = g, batch = inputShape[0]!, channels = inputShape[g.first ? 1 : 3]!;
  const [left, right, top, bottom] = g.before ?? [0, 0, 0, 0];
  const shape = shapeOnly(scope, [batch, channels, height + top + bottom, width + left + right], gradient);
  const [dx] = backward(scope, gradient, shape, filterOf(scope, filter, gradient, depthwise), g, [true, false, false]);
  return scope.output(fromChannelsFirst(scope, unpadded(scope, dx!, g), g), 'float32', inputShape);
}

function filterGradient(scope: KernelScope, x: TensorInfo, dy: TensorInfo, filterShape: number[], attrs: ConvAttrs, depthwise: boolean): TensorInfo {
  if (dy.shape.includes(0)) return scope.output(scope.aten('aten::zeros', filterShape, FLOAT32));
  const g = geometry(x.shape, filterShape, attrs, depthwise);
  checkGradient(dy, g);
  const fewer = minimal(scope, g, () => addon().minimalConvolutionFilterGradient(scope.handle(dy), scope.handle(x)));
  if (fewer !== null) return scope.output(fewer, 'float32', filterShape);
  const input = padded(scope, toChannelsFirst(scope, scope.handle(x), g), g, 0), gradient = toChannelsFirst(scope, scope.handle(dy), g);
  const [height, width, channels, outputs] = filterShape as Shape4D;
  const shape = shapeOnly(scope, depthwise ? [channels * outputs, 1, height, width] : [outputs, channels, height, width], gradient);
  const [, dw] = backward(scope, gradient, input, shape, g, [false, true, false]);
  const full = addon().scalarType(dw!) === 'Float' ? dw! : scope.aten('aten::to.dtype', dw!, FLOAT32);
  const ordered = depthwise ? scope.aten('aten::permute', scope.aten('aten::reshape', full, [channels, outputs, height, width]), [2, 3, 0, 1]) : scope.aten('aten::permute', full, [2, 3, 1, 0]);
  return scope.output(ordered, 'float32', filterShape);
}

/** Convolution, bias and activation in one call, as TF.js's layers and converted models ask for it. */
function fused(scope: KernelScope, { x, filter, bias, preluActivationWeights }: Inputs, { activation, leakyreluAlpha, ...attrs }: ConvAttrs & FusedAttrs, depthwise: boolean): TensorInfo {
  const g = geometry(x!.shape, filter!.shape, attrs, depthwise), y = convolve(scope, x!, filter!, bias, g, depthwise);
  return scope.output(activate(scope, y, activation, { slope: preluActivationWeights && perChannel(scope, preluActivationWeights, g), alpha: leakyreluAlpha }));
}

export function registerConvolution(): void {
  defineKernel<ConvAttrs>('Conv2D', (scope, { x, filter }, attrs) => scope.output(convolve(scope, x!, filter!, undefined, geometry(x!.shape, filter!.shape, attrs, false), false)));
  defineKernel<ConvAttrs & { inputShape: Shape4D }>('Conv2DBackpropInput', (scope, { dy, filter }, { inputShape, ...attrs }) => inputGradient(scope, dy!, filter!, inputShape, attrs, false));
  defineKernel<ConvAttrs & { filterShape: Shape4D }>('Conv2DBackpropFilter', (scope, { x, dy }, { filterShape, ...attrs }) => filterGradient(scope, x!, dy!, filterShape, attrs, false));
  defineKernel<ConvAttrs & FusedAttrs>('FusedConv2D', (scope, inputs, attrs) => fused(scope, inputs, attrs, false));

  defineKernel<ConvAttrs>('DepthwiseConv2dNative', (scope, { x, filter }, attrs) => scope.output(convolve(scope, x!, filter!, undefined, geometry(x!.shape, filter!.shape, attrs, true), true)));
  defineKernel<ConvAttrs & { inputShape: Shape4D }>('DepthwiseConv2dNativeBackpropInput', (scope, { dy, filter }, { inputShape, ...attrs }) => inputGradient(scope, dy!, filter!, inputShape, attrs, true));
  defineKernel<ConvAttrs & { filterShape: Shape4D }>('DepthwiseConv2dNativeBackpropFilter', (scope, { x, dy }, { filterShape, ...attrs }) => filterGradient(scope, x!, dy!, filterShape, attrs, true));
  defineKernel<ConvAttrs & FusedAttrs>('FusedDepthwiseConv2D', (scope, inputs, attrs) => fused(scope, inputs, attrs, true));
}
