import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, gradientCase, input } from '../case.js';

const TOLERANCE = { tolerance: 5e-5 };

interface Convolution { what: string; x: number[]; filter: number[]; strides: number | [number, number]; pad: 'same' | 'valid' | number | tf.backend_util.ExplicitPadding; dilations?: number | [number, number]; rounding?: 'floor' | 'round' | 'ceil' }

const CONVOLUTIONS: Convolution[] = [
  { what: '3 x 3, same', x: [2, 7, 6, 3], filter: [3, 3, 3, 4], strides: 1, pad: 'same' },
  { what: '3 x 3, same, strides 2, even size: uneven padding', x: [2, 8, 8, 3], filter: [3, 3, 3, 4], strides: 2, pad: 'same' },
  { what: '2 x 2, same: uneven padding', x: [1, 5, 5, 2], filter: [2, 2, 2, 3], strides: 1, pad: 'same' },
  { what: '7 x 7, padding 3, strides 2', x: [1, 16, 15, 3], filter: [7, 7, 3, 2], strides: 2, pad: 3 },
  { what: '1 x 1, valid, strides 2', x: [2, 5, 6, 4], filter: [1, 1, 4, 3], strides: 2, pad: 'valid' },
  { what: '3 x 2, strides 2 and 1, valid', x: [1, 6, 5, 2], filter: [3, 2, 2, 3], strides: [2, 1], pad: 'valid' },
  { what: '3 x 3, explicit uneven padding', x: [1, 5, 5, 2], filter: [3, 3, 2, 2], strides: 1, pad: [[0, 0], [2, 0], [0, 1], [0, 0]] },
  { what: '3 x 3, dilated by 2', x: [1, 9, 8, 2], filter: [3, 3, 2, 2], strides: 1, pad: 'same', dilations: 2 },
  { what: '3 x 3, padding 1, strides 2, rounded up', x: [1, 6, 6, 2], filter: [3, 3, 2, 2], strides: 2, pad: 1, rounding: 'ceil' },
  { what: 'one pixel', x: [1, 1, 1, 1], filter: [1, 1, 1, 1], strides: 1, pad: 'valid' },
  { what: 'no pictures', x: [0, 5, 5, 2], filter: [3, 3, 2, 3], strides: 1, pad: 'same' },
];

function convolutionCases(c: Convolution): ConformanceCase[] {
  const run = (x: tf.Tensor, filter: tf.Tensor) => tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, c.strides, c.pad, 'NHWC', c.dilations ?? 1, c.rounding);
  const inputs = () => [input(c.x), input(c.filter, { seed: 2 })];
  const forward = conformanceCase('Conv2D', c.what, () => run(...(inputs() as [tf.Tensor, tf.Tensor])), TOLERANCE);
  // TF.js has gradients of undilated convolutions alone.
  return c.dilations === undefined && c.rounding === undefined ? [forward, gradientCase('Conv2D', c.what, inputs, run, TOLERANCE)] : [forward];
}

const depthwiseCases = CONVOLUTIONS.filter(({ x, rounding, strides }) => x[0] !== 0 && rounding === undefined && !Array.isArray(strides)).flatMap((c): ConformanceCase[] => {
  const run = (x: tf.Tensor, filter: tf.Tensor) => tf.depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, c.strides, c.pad, 'NHWC', c.dilations ?? 1);
  const inputs = () => [input(c.x), input([c.filter[0]!, c.filter[1]!, c.x[3]!, 2], { seed: 2 })];
  const forward = conformanceCase('DepthwiseConv2dNative', c.what, () => run(...(inputs() as [tf.Tensor, tf.Tensor])), TOLERANCE);
  return c.dilations === undefined ? [forward, gradientCase('DepthwiseConv2dNative', c.what, inputs, run, TOLERANCE)] : [forward];
});

const ACTIVATIONS = ['linear', 'relu', 'relu6', 'elu', 'leakyrelu', 'sigmoid', 'prelu'] as const;
const fusedCases = ACTIVATIONS.flatMap((activation): ConformanceCase[] => {
  const common = { strides: 2, pad: 'same', activation, leakyreluAlpha: 0.1 } as const;
  return [
    conformanceCase('FusedConv2D', `bias, ${activation}`, () =>
      tf.fused.conv2d({ ...common, x: input<tf.Tensor4D>([2, 6, 6, 3]), filter: input<tf.Tensor4D>([3, 3, 3, 4], { seed: 2 }), bias: input([4], { seed: 3 }), preluActivationWeights: input([4], { seed: 4 }) }), TOLERANCE),
    conformanceCase('FusedDepthwiseConv2D', `bias, ${activation}`, () =>
      tf.fused.depthwiseConv2d({ ...common, x: input<tf.Tensor4D>([2, 6, 6, 3]), filter: input<tf.Tensor4D>([3, 3, 3, 2], { seed: 2 }), bias: input([6], { seed: 3 }), preluActivationWeights: input([6], { seed: 4 }) }), TOLERANCE),
  ];
});

interface Pooling { what: string; x: number[]; size: number | [number, number]; strides: number; pad: 'same' | 'valid' | number; rounding?: 'floor' | 'ceil' }

const POOLINGS: Pooling[] = [
  { what: '2 x 2, valid', x: [2, 6, 5, 3], size: 2, strides: 2, pad: 'valid' },
  { what: '3 x 3, padding 1, strides 2', x: [2, 8, 7, 3], size: 3, strides: 2, pad: 1 },
  { what: '3 x 3, same, strides 2, even size: uneven padding', x: [1, 8, 8, 2], size: 3, strides: 2, pad: 'same' },
  { what: '2 x 3, same, strides 1', x: [1, 5, 5, 2], size: [2, 3], strides: 1, pad: 'same' },
  { what: '2 x 2, padding 1, strides 2, rounded up', x: [1, 5, 4, 2], size: 2, strides: 2, pad: 1, rounding: 'ceil' },
  { what: 'no pictures', x: [0, 6, 6, 2], size: 2, strides: 2, pad: 'valid' },
  { what: 'the whole picture', x: [2, 4, 4, 3], size: 4, strides: 4, pad: 'valid' },
];

/** Channels before height and width, which TF.js takes for undilated and dilated convolutions, fused and not, and for their gradients. */
const channelsFirstCases = CONVOLUTIONS.filter(({ x, rounding, pad }) => x[0] !== 0 && rounding === undefined && !Array.isArray(pad)).flatMap((c): ConformanceCase[] => {
  const shape = [c.x[0]!, c.x[3]!, c.x[1]!, c.x[2]!];
  const run = (x: tf.Tensor, filter: tf.Tensor) => tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, c.strides, c.pad, 'NCHW', c.dilations ?? 1);
  const inputs = () => [input(shape), input(c.filter, { seed: 2 })] as [tf.Tensor4D, tf.Tensor4D];
  const fused = (activation: 'relu' | 'prelu') => tf.fused.conv2d({
    x: inputs()[0], filter: inputs()[1], strides: c.strides, pad: c.pad, dataFormat: 'NCHW', dilations: c.dilations ?? 1, bias: input([c.filter[3]!], { seed: 3 }), activation, preluActivationWeights: input([c.filter[3]!], { seed: 4 }),
  });
  const forward = [
    conformanceCase('Conv2D', `channels first, ${c.what}`, () => run(...inputs()), TOLERANCE),
    ...(['relu', 'prelu'] as const).map((activation) => conformanceCase('FusedConv2D', `channels first, ${activation}, ${c.what}`, () => fused(activation), TOLERANCE)),
  ];
  return c.dilations === undefined ? [...forward, gradientCase('Conv2D', `channels first, ${c.what}`, inputs, run, TOLERANCE)] : forward;
});

/**
 * The gradient of a function that is linear and treats each picture and channel alike, from its own values on pictures
 * of a single 1: for gradients that the reference gets wrong.
 */
function linearGradient([batch, height, width, channels]: number[], f: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
  const places = height! * width!;
  const responses = f(tf.reshape(tf.oneHot(tf.range(0, places, 1, 'int32'), places, 1, 0, 'float32'), [places, height!, width!, 1]));
  const count = responses.size / places;
  const dy = tf.reshape(input([batch!, ...responses.shape.slice(1, 3), channels!], { seed: 99 }), [batch!, count, channels!]);
  return tf.reshape(tf.matMul(tf.tile(tf.reshape(responses, [1, places, count]), [batch!, 1, 1]), dy), [batch!, height!, width!, channels!]);
}

const poolingCases = POOLINGS.flatMap((p) => (['MaxPool', 'AvgPool'] as const).flatMap((kernel): ConformanceCase[] => {
  const pool = kernel === 'MaxPool' ? tf.maxPool : tf.avgPool;
  const run = (x: tf.Tensor) => pool(x as tf.Tensor4D, p.size, p.strides, p.pad, p.rounding);
  const forward = conformanceCase(kernel, p.what, () => run(input(p.x, { low: -5, high: -1 })));
  // The reference's gradient of an average counts the padding.
  const reference = kernel === 'AvgPool' ? { reference: () => linearGradient(p.x, run) } : {};
  return p.rounding === undefined ? [forward, gradientCase(kernel, p.what, () => [input(p.x)], run, reference)] : [forward];
}));

const RESIZES: [what: string, from: number[], to: [number, number], alignCorners: boolean, halfPixelCenters: boolean][] = [
  ['up', [2, 3, 4, 2], [7, 9], false, false], ['down', [1, 8, 9, 3], [3, 4], false, false], ['up, corners aligned', [1, 3, 4, 2], [5, 7], true, false],
  ['down, half pixels', [1, 8, 9, 3], [3, 4], false, true], ['up, half pixels', [1, 3, 4, 2], [7, 9], false, true], ['to one pixel, corners aligned', [1, 3, 4, 2], [1, 1], true, false],
];
const resizeCases = RESIZES.flatMap(([what, from, to, alignCorners, halfPixelCenters]) => (['ResizeBilinear', 'ResizeNearestNeighbor'] as const).flatMap((kernel): ConformanceCase[] => {
  const resize = kernel === 'ResizeBilinear' ? tf.image.resizeBilinear : tf.image.resizeNearestNeighbor;
  const run = (x: tf.Tensor) => resize(x as tf.Tensor4D, to, alignCorners, halfPixelCenters);
  const forward = conformanceCase(kernel, what, () => run(input(from)));
  // The reference's gradients take height for width, and know no half pixels.
  return [forward, gradientCase(kernel, what, () => [input(from)], run, { reference: () => linearGradient(from, run) })];
}));

const transposedCases: ConformanceCase[] = ([[1, 'valid', [2, 6, 7, 3]], [2, 'same', [2, 8, 10, 3]]] as const).flatMap(([strides, pad, shape]) => {
  const run = (x: tf.Tensor, filter: tf.Tensor) => tf.conv2dTranspose(x as tf.Tensor4D, filter as tf.Tensor4D, [...shape], strides, pad);
  const inputs = () => [input([2, 4, 5, 2]), input([3, 3, 3, 2], { seed: 2 })] as [tf.Tensor, tf.Tensor];
  return [conformanceCase('Conv2DBackpropInput', `transposed, ${pad}`, () => run(...inputs()), TOLERANCE), gradientCase('Conv2DBackpropInput', `transposed, ${pad}`, inputs, run, TOLERANCE)];
});

const statisticsOfPlaces: ConformanceCase[] = [
  conformanceCase('FusedBatchNorm', 'statistics of the shape of x', () => tf.batchNorm(input([3, 4]), input([3, 4], { seed: 2 }), input([3, 4], { seed: 3, low: 0.2 }), input([3, 4], { seed: 4 }), input([3, 4], { seed: 5 })), TOLERANCE),
];

const normCases: ConformanceCase[] = ([[2, 3, 3, 4], [5, 1, 1, 3]] as const).flatMap((shape) => {
  const channels = shape[3];
  const statistics = () => [input([channels], { seed: 2 }), input([channels], { seed: 3, low: 0.2, high: 2 }), input([channels], { seed: 4 }), input([channels], { seed: 5, low: 0.5, high: 2 })] as tf.Tensor1D[];
  const run = (x: tf.Tensor, [mean, variance, offset, scale]: tf.Tensor1D[]) => tf.batchNorm(x, mean!, variance!, offset, scale, 1e-3);
  return [
    conformanceCase('FusedBatchNorm', `[${shape.join(', ')}]`, () => run(input([...shape]), statistics()), TOLERANCE),
    conformanceCase('FusedBatchNorm', `[${shape.join(', ')}], no scale, no offset`, () => run(input([...shape]), statistics().slice(0, 2)), TOLERANCE),
    gradientCase('FusedBatchNorm', `[${shape.join(', ')}]`, () => [input([...shape]), ...statistics()], (x, ...rest) => run(x, rest as tf.Tensor1D[]), { tolerance: 2e-4 }),
  ];
});

export const imageCases: readonly ConformanceCase[] = [...CONVOLUTIONS.flatMap(convolutionCases), ...transposedCases, ...channelsFirstCases, ...depthwiseCases, ...fusedCases, ...poolingCases, ...resizeCases, ...normCases, ...statisticsOfPlaces];
