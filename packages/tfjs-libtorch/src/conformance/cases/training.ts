import * as tf from '@tensorflow/tfjs-core';
import { type ConformanceCase, conformanceCase, input } from '../case.js';

/** Kernels that core calls by name, against what core composes of TF.js's operators where a backend lacks them. */

const run = (name: string, inputs: Record<string, tf.Tensor | tf.Tensor[]>, attributes: object = {}): tf.Tensor[] => {
  const result = tf.engine().runKernel(name, inputs as unknown as tf.NamedTensorMap, attributes as tf.NamedAttrMap) as tf.Tensor | tf.Tensor[];
  return Array.isArray(result) ? result : [result];
};

const OPTIONS = { momentum: 0.1, epsilon: 1e-5 };
const parameters = (channels: number) => ({ scale: input([channels], { seed: 2, low: 0.5, high: 2 }), shift: input([channels], { seed: 3 }), mean: input([channels], { seed: 4 }), variance: input([channels], { seed: 5, low: 0.5, high: 2 }) });
const allButChannels = (x: tf.Tensor) => x.shape.slice(0, -1).map((_, axis) => axis);

function statistics(x: tf.Tensor) {
  const mean = tf.mean(x, allButChannels(x)), variance = tf.mean(tf.square(tf.sub(x, mean)), allButChannels(x));
  return { mean, variance, inverseDeviation: tf.rsqrt(tf.add(variance, OPTIONS.epsilon)) };
}

function trainingReference(x: tf.Tensor): tf.Tensor[] {
  const { scale, shift, mean, variance } = parameters(x.shape[x.shape.length - 1]!);
  const batch = statistics(x), count = x.size / scale.size;
  const moved = (running: tf.Tensor, current: tf.Tensor) => tf.add(tf.mul(running, 0.9), tf.mul(current, 0.1));
  const y = tf.add(tf.mul(tf.mul(tf.sub(x, batch.mean), batch.inverseDeviation), scale), shift);
  return [y, batch.mean, batch.inverseDeviation, moved(mean, batch.mean), moved(variance, tf.mul(batch.variance, count / (count - 1)))];
}

function backwardReference(x: tf.Tensor, dy: tf.Tensor, training: boolean): tf.Tensor[] {
  const { scale, mean, variance } = parameters(x.shape[x.shape.length - 1]!);
  const center = training ? statistics(x).mean : mean, inverse = training ? statistics(x).inverseDeviation : tf.rsqrt(tf.add(variance, OPTIONS.epsilon));
  const normalized = tf.mul(tf.sub(x, center), inverse), axes = allButChannels(x);
  const dShift = tf.sum(dy, axes), dScale = tf.sum(tf.mul(dy, normalized), axes);
  const answered = tf.sub(dy, tf.div(tf.add(dShift, tf.mul(normalized, dScale)), x.size / scale.size));
  return [tf.mul(tf.mul(inverse, scale), training ? answered : dy), dScale, dShift];
}

const TOLERANCE = 2e-4;
const batchNormCases = [[4, 3, 5, 6], [7, 3]].flatMap((shape): ConformanceCase[] => {
  const x = () => input(shape), dy = () => input(shape, { seed: 9 }), channels = shape[shape.length - 1]!;
  const backward = (training: boolean, needsInput: boolean, needsParameters: boolean) => {
    const { scale, mean, variance } = parameters(channels);
    const batch = statistics(x()), saved = training ? { batchMean: batch.mean, inverseDeviation: batch.inverseDeviation } : {};
    return run('BatchNormBackward', { dy: dy(), x: x(), scale, mean, variance, ...saved }, { training, epsilon: OPTIONS.epsilon, needsInput, needsParameters });
  };
  const named = (what: string) => `[${shape.join(', ')}], ${what}`;
  return [
    conformanceCase('BatchNorm', named("the batch's statistics"), () => run('BatchNorm', { x: x(), ...parameters(channels) }, { ...OPTIONS, training: true }), { tolerance: TOLERANCE, reference: () => trainingReference(x()) }),
    conformanceCase('BatchNormMoments', named('of each channel'), () => run('BatchNormMoments', { x: x(), mean: input([channels]), variance: input([channels]) }), {
      tolerance: TOLERANCE, reference: () => { const { mean, variance } = statistics(x()); return [mean, variance]; },
    }),
    conformanceCase('BatchNorm', named('running statistics'), () => run('BatchNorm', { x: x(), ...parameters(channels) }, { ...OPTIONS, training: false }), {
      tolerance: TOLERANCE,
      reference: () => { const { scale, shift, mean, variance } = parameters(channels); return tf.batchNorm(x(), mean, variance, shift, scale, OPTIONS.epsilon); },
    }),
    ...[true, false].flatMap((training) => [
      conformanceCase('BatchNormBackward', named(training ? "the batch's statistics" : 'running statistics'), () => backward(training, true, true), { tolerance: TOLERANCE, reference: () => backwardReference(x(), dy(), training) }),
      conformanceCase('BatchNormBackward', named(`${training ? "the batch's statistics" : 'running statistics'}, input alone`), () => backward(training, true, false), { tolerance: TOLERANCE, reference: () => backwardReference(x(), dy(), training).slice(0, 1) }),
      conformanceCase('BatchNormBackward', named(`${training ? "the batch's statistics" : 'running statistics'}, parameters alone`), () => backward(training, false, true), { tolerance: TOLERANCE, reference: () => backwardReference(x(), dy(), training).slice(1) }),
    ]),
  ];
});

type PoolAttributes = { filterSize: number; strides: number; pad: number | 'same' };
const POOLS: [what: string, shape: number[], attributes: PoolAttributes, x?: (shape: number[]) => tf.Tensor4D][] = [
  ['equal values', [2, 8, 8, 3], { filterSize: 3, strides: 2, pad: 1 }, (shape) => tf.round(input<tf.Tensor4D>(shape))],
  ["the stem's", [2, 8, 8, 3], { filterSize: 3, strides: 2, pad: 1 }], ['uneven padding', [2, 8, 8, 3], { filterSize: 3, strides: 2, pad: 'same' }],
  ['many channels, odd sizes', [1, 7, 5, 70], { filterSize: 3, strides: 2, pad: 1 }], ['windows apart', [2, 9, 9, 3], { filterSize: 2, strides: 3, pad: 0 }], ['overlap on overlap', [1, 6, 7, 2], { filterSize: 4, strides: 1, pad: 2 }],
  ['no pictures', [0, 8, 8, 3], { filterSize: 3, strides: 2, pad: 1 }], ['more places than a byte counts', [1, 20, 20, 2], { filterSize: 17, strides: 2, pad: 0 }],
];
const poolCases = POOLS.flatMap(([what, shape, attributes, make = input]): ConformanceCase[] => {
  const x = () => make(shape) as tf.Tensor4D;
  const pool = (t: tf.Tensor) => tf.maxPool(t as tf.Tensor4D, attributes.filterSize, attributes.strides, attributes.pad);
  return [
    conformanceCase('MaxPoolWithIndices', what, () => run('MaxPoolWithIndices', { x: x() }, attributes)[0]!, { reference: () => pool(x()) }),
    conformanceCase('MaxPoolWithIndicesBackward', what, () => {
      const [y, indices] = run('MaxPoolWithIndices', { x: x() }, attributes);
      return run('MaxPoolWithIndicesBackward', { dy: input(y!.shape, { seed: 99 }), indices: indices! }, { ...attributes, inputShape: shape });
    }, { reference: () => tf.grads(pool)([x()], input(pool(x()).shape, { seed: 99 })) }),
  ];
});

/** Three steps of an optimizer's kernel, which changes its tensors where they lie. */
function steps(first: (names: Record<string, tf.Tensor[]>, step: number) => void, names: string[]): tf.Tensor[] {
  const shapes = [[3, 4], [5]];
  const tensors = { ...Object.fromEntries(names.map((name) => [name, shapes.map((shape) => tf.zeros(shape))])), parameters: shapes.map((shape, i) => tf.clone(input(shape, { seed: 20 + i }))) } as Record<string, tf.Tensor[]>;
  for (let step = 1; step <= 3; step++) first({ ...tensors, gradients: shapes.map((shape, i) => input(shape, { seed: 30 * step + i })) }, step);
  return [...tensors['parameters']!, ...names.flatMap((name) => tensors[name]!)];
}

const ADAM = { learningRate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, decoupled: false };
const adamReference = (o: typeof ADAM) => (t: Record<string, tf.Tensor[]>, step: number) => {
  t['parameters']!.forEach((p, i) => {
    const theta = o.decoupled ? tf.mul(p, 1 - o.learningRate * o.weightDecay) : p;
    const g = o.decoupled ? t['gradients']![i]! : tf.add(t['gradients']![i]!, tf.mul(p, o.weightDecay));
    const m = tf.add(tf.mul(t['first']![i]!, o.beta1), tf.mul(g, 1 - o.beta1)), v = tf.add(tf.mul(t['second']![i]!, o.beta2), tf.mul(tf.square(g), 1 - o.beta2));
    t['first']![i] = m;
    t['second']![i] = v;
    t['parameters']![i] = tf.sub(theta, tf.mul(tf.div(tf.div(m, 1 - o.beta1 ** step), tf.add(tf.sqrt(tf.div(v, 1 - o.beta2 ** step)), o.epsilon)), o.learningRate));
  });
};
const adamCases = ([['adam', ADAM], ['weight decay', { ...ADAM, weightDecay: 0.3 }], ['decoupled decay', { ...ADAM, weightDecay: 0.3, decoupled: true }]] as const).map(([what, o]) =>
  conformanceCase('AdamStep', what, () => steps((t, step) => void run('AdamStep', t, { ...o, step }), ['first', 'second']), { reference: () => steps(adamReference(o), ['first', 'second']) }));

const SGD = { learningRate: 0.1, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false };
const sgdReference = (o: typeof SGD) => (t: Record<string, tf.Tensor[]>, step: number) => {
  t['parameters']!.forEach((p, i) => {
    const g = tf.add(t['gradients']![i]!, tf.mul(p, o.weightDecay));
    const b = step === 1 ? g : tf.add(tf.mul(t['buffers']![i]!, o.momentum), tf.mul(g, 1 - o.dampening));
    t['buffers']![i] = b;
    t['parameters']![i] = tf.sub(p, tf.mul(o.nesterov ? tf.add(g, tf.mul(b, o.momentum)) : b, o.learningRate));
  });
};
const sgdCases = ([['plain', SGD], ['momentum', { ...SGD, momentum: 0.9 }], ['dampening and decay', { ...SGD, momentum: 0.9, dampening: 0.3, weightDecay: 0.1 }], ['Nesterov', { ...SGD, momentum: 0.9, nesterov: true }]] as const).map(([what, o]) =>
  conformanceCase('SgdStep', what, () => steps((t, step) => void run('SgdStep', t, { ...o, step }), ['buffers']), { reference: () => steps(sgdReference(o), ['buffers']) }));

const reluCase = conformanceCase('ReluBackward', '[4, 5]', () => run('ReluBackward', { dy: input([4, 5], { seed: 2 }), y: tf.relu(input([4, 5])) }), { reference: () => tf.mul(input([4, 5], { seed: 2 }), tf.step(input([4, 5]))) });

export const trainingCases: readonly ConformanceCase[] = [...batchNormCases, ...poolCases, ...adamCases, ...sgdCases, reluCase];
