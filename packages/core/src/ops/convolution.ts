import { type Tensor, type Tensor4D, concat, matMul, pad, reshape, stridedSlice, tidy } from '@tensorflow/tfjs-core';
import type { BatchNormTensors } from './batch-norm.js';
import { border, bordered, needsBorder, withoutBorder } from './border.js';
import { hasKernel, runKernel } from './kernels.js';

export interface ConvolutionGeometry {
  strides: number;
  /** Zeros on each side. */
  padding: number;
}

const attributes = ({ strides, padding }: ConvolutionGeometry) => ({ strides, pad: padding, dataFormat: 'NHWC', dilations: 1 });

/** x [batch, height, width, in], filter [height, width, in, out]: torch.nn.functional.conv2d without a bias. */
export function conv2d(x: Tensor, filter: Tensor, geometry: ConvolutionGeometry): Tensor {
  const { padding } = geometry;
  if (needsBorder(padding)) return tidy(() => conv2d(border(x, padding), filter, { ...geometry, padding: 0 }));
  return runKernel<Tensor>('Conv2D', { x, filter }, attributes(geometry));
}

/** The gradient of the input, of shape `inputShape`. */
export function conv2dInputGradient(dy: Tensor, filter: Tensor, inputShape: number[], geometry: ConvolutionGeometry): Tensor {
  const { padding } = geometry;
  if (needsBorder(padding)) return withoutBorder(padding, () => conv2dInputGradient(dy, filter, bordered(inputShape, padding), { ...geometry, padding: 0 }));
  return runKernel<Tensor>('Conv2DBackpropInput', { dy, filter }, { ...attributes(geometry), inputShape });
}

/** The gradient of the filter, in float32, of shape `filterShape`. */
export function conv2dFilterGradient(dy: Tensor, x: Tensor, filterShape: number[], geometry: ConvolutionGeometry): Tensor {
  const { padding } = geometry;
  if (needsBorder(padding)) return tidy(() => conv2dFilterGradient(dy, border(x, padding), filterShape, { ...geometry, padding: 0 }));
  if (hasKernel('Conv2DBackpropFilter')) return runKernel<Tensor>('Conv2DBackpropFilter', { x, dy }, { ...attributes(geometry), filterShape });
  return filterGradientByProducts(dy as Tensor4D, x as Tensor4D, filterShape, geometry);
}

/** Whether the backend lays filters out for the processor itself, from float32. */
export const hasPackedConvolution = (): boolean => hasKernel('PackedConv2D');

/** A filter that changes, [height, width, in, out] in float32, or the pack of one that doesn't. */
export type FilterOrPack = { filter: Tensor } | { pack: Tensor };

/** A tensor that stands for a filter, laid out once. The filter may be used further; where its values lie in the pack as well, they are not held twice. */
export const packFilter = (filter: Tensor): Tensor => runKernel<Tensor>('PackFilter', { filter }, {});

/** What may follow a convolution in the same pass over memory: BatchNorm by its running statistics, a sum, ReLU. */
export interface ConvolutionTail {
  norm?: BatchNormTensors & { epsilon: number };
  summand?: Tensor | undefined;
  relu?: boolean;
}

/** relu(BatchNorm(convolution(x)) + summand), in x's precision. The summand stays the caller's, who may only let it go. */
export function packedConv2d(x: Tensor, filter: FilterOrPack, { strides, padding }: ConvolutionGeometry, { norm, summand, relu = false }: ConvolutionTail = {}): Tensor {
  const { epsilon = 0, ...tensors } = norm ?? {};
  return runKernel<Tensor>('PackedConv2D', { x, ...filter, ...tensors, ...(summand ? { summand } : {}) }, { strides, padding, relu, spent: true, epsilon });
}

export function packedConv2dInputGradient(dy: Tensor, filter: FilterOrPack, inputShape: number[], { strides, padding }: ConvolutionGeometry): Tensor {
  return runKernel<Tensor>('PackedConv2DInputGradient', { dy, ...filter }, { strides, padding, inputShape });
}

export function packedConv2dFilterGradient(dy: Tensor, x: Tensor, filterShape: number[], { strides, padding }: ConvolutionGeometry): Tensor {
  return runKernel<Tensor>('PackedConv2DFilterGradient', { dy, x }, { strides, padding, filterShape });
}

/** For backends without that kernel (wasm): one matrix product for each position in the filter. */
function filterGradientByProducts(dy: Tensor4D, x: Tensor4D, filterShape: number[], { strides, padding }: ConvolutionGeometry): Tensor {
  return tidy(() => {
    const [height, width, channels, filters] = filterShape as [number, number, number, number];
    const [batch, outHeight, outWidth] = dy.shape;
    const padded = pad(x, [[0, 0], [padding, padding + strides], [padding, padding + strides], [0, 0]]) as Tensor4D;
    const rows = batch * outHeight * outWidth;
    const gradient = reshape(dy, [rows, filters]);
    const products: Tensor[] = [];
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        const window = stridedSlice(padded, [0, i, j, 0], [batch, i + strides * (outHeight - 1) + 1, j + strides * (outWidth - 1) + 1, channels], [1, strides, strides, 1]);
        products.push(matMul(reshape(window, [rows, channels]), gradient, true, false));
      }
    }
    return reshape(concat(products), filterShape);
  });
}
