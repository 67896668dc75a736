import { type Tensor, add, div, mean as meanOf, mul, rsqrt, scalar, square, sub, sum as sumOf, tidy } from '@tensorflow/tfjs-core';
import { hasKernel, runKernel } from './kernels.js';

export interface BatchNormTensors { scale: Tensor; shift: Tensor; mean: Tensor; variance: Tensor }
export interface BatchNormOptions { momentum: number; epsilon: number }

/** What a forward pass with the batch's statistics leaves beside y. */
export interface BatchStatistics { mean: Tensor; inverseDeviation: Tensor }
export interface BatchNormTraining { y: Tensor; batch: BatchStatistics; runningMean: Tensor; runningVariance: Tensor }

/** All axes but the last, which are the channels. */
const reduced = (x: Tensor): number[] => x.shape.slice(0, -1).map((_, axis) => axis);
const count = (x: Tensor): number => x.size / x.shape[x.shape.length - 1]!;

/** y = (x - mean) / sqrt(variance + epsilon) * scale + shift with the running statistics (Ioffe and Szegedy, 2015). */
export function batchNormInference(x: Tensor, { scale, shift, mean, variance }: BatchNormTensors, options: BatchNormOptions): Tensor {
  if (hasKernel('BatchNorm')) return runKernel<Tensor[]>('BatchNorm', { x, scale, shift, mean, variance }, { ...options, training: false })[0]!;
  return tidy(() => add(mul(sub(x, mean), mul(rsqrt(add(variance, options.epsilon)), scale)), shift));
}

/**
 * The same with the batch's own statistics, and the running ones after it, as torch.nn.BatchNorm2d in training: the
 * batch is normalised with its biased variance, the running variance moves towards the unbiased one.
 */
export function batchNormTraining(x: Tensor, tensors: BatchNormTensors, options: BatchNormOptions): BatchNormTraining {
  if (hasKernel('BatchNorm')) {
    const [y, mean, inverseDeviation, runningMean, runningVariance] = runKernel<Tensor[]>('BatchNorm', { x, ...tensors }, { ...options, training: true });
    return { y: y!, batch: { mean: mean!, inverseDeviation: inverseDeviation! }, runningMean: runningMean!, runningVariance: runningVariance! };
  }
  const [y, mean, inverseDeviation, runningMean, runningVariance] = tidy(() => {
    const m = meanOf(x, reduced(x));
    const variance = meanOf(square(sub(x, m)), reduced(x));
    const inverse = rsqrt(add(variance, options.epsilon));
    const moved = (running: Tensor, current: Tensor) => add(mul(running, scalar(1 - options.momentum)), mul(current, scalar(options.momentum)));
    const unbiased = mul(variance, scalar(count(x) / Math.max(1, count(x) - 1)));
    return [add(mul(sub(x, m), mul(inverse, tensors.scale)), tensors.shift), m, inverse, moved(tensors.mean, m), moved(tensors.variance, unbiased)] as Tensor[];
  });
  return { y: y!, batch: { mean: mean!, inverseDeviation: inverseDeviation! }, runningMean: runningMean!, runningVariance: runningVariance! };
}

export interface BatchNormGradients { dx: Tensor | null; dScale: Tensor | null; dShift: Tensor | null }

/**
 * The gradients of input, scale and shift. With `batch` the statistics were the batch's and depend on x; with null
 * they were the running ones, which are constants.
 */
export function batchNormBackward(dy: Tensor, x: Tensor, tensors: BatchNormTensors, batch: BatchStatistics | null, options: BatchNormOptions, needs: { input: boolean; parameters: boolean }): BatchNormGradients {
  if (hasKernel('BatchNormBackward')) {
    const { scale, mean, variance } = tensors;
    const saved = batch ? { batchMean: batch.mean, inverseDeviation: batch.inverseDeviation } : {};
    const outputs = runKernel<Tensor[]>('BatchNormBackward', { dy, x, scale, mean, variance, ...saved },
      { training: batch !== null, epsilon: options.epsilon, needsInput: needs.input, needsParameters: needs.parameters });
    const dx = needs.input ? outputs.shift()! : null;
    return { dx, dScale: outputs[0] ?? null, dShift: outputs[1] ?? null };
  }
  return composedBackward(dy, x, tensors, batch, options, needs);
}

function composedBackward(dy: Tensor, x: Tensor, tensors: BatchNormTensors, batch: BatchStatistics | null, { epsilon }: BatchNormOptions, needs: { input: boolean; parameters: boolean }): BatchNormGradients {
  const [dx, dScale, dShift] = tidy(() => {
    const inverse = batch?.inverseDeviation ?? rsqrt(add(tensors.variance, epsilon));
    const normalized = mul(sub(x, batch?.mean ?? tensors.mean), inverse);
    const shiftGradient = sumOf(dy, reduced(x));
    const scaleGradient = sumOf(mul(dy, normalized), reduced(x));
    const through = mul(inverse, tensors.scale);
    const n = scalar(count(x));
    // With the batch's statistics, mean and deviation answer to x too (Ioffe and Szegedy, 2015, section 3).
    const inputGradient = batch ? mul(through, sub(dy, div(add(shiftGradient, mul(normalized, scaleGradient)), n))) : mul(through, dy);
    return [inputGradient, scaleGradient, shiftGradient] as Tensor[];
  });
  if (!needs.input) dx!.dispose();
  if (!needs.parameters) {
    dScale!.dispose();
    dShift!.dispose();
  }
  return { dx: needs.input ? dx! : null, dScale: needs.parameters ? dScale! : null, dShift: needs.parameters ? dShift! : null };
}

/** Whether the backend does BatchNorm, a sum and ReLU in one. */
export const hasBatchNormActivation = (): boolean => hasKernel('BatchNormActivation');

export interface BatchNormActivated { y: Tensor; batch: BatchStatistics | null; moved: { mean: Tensor; variance: Tensor } | null }

/**
 * relu(BatchNorm(x) + summand) with the running statistics, or in training with the batch's; then also these, and the running ones after
 * it. `inPlace` makes y of x's memory: x's values are gone, and x is still the caller's to let go.
 */
export function batchNormActivation(x: Tensor, tensors: BatchNormTensors, { summand, ...options }: BatchNormOptions & { training: boolean; relu: boolean; inPlace: boolean; summand?: Tensor | undefined }): BatchNormActivated {
  const [y, mean, inverseDeviation, runningMean, runningVariance] = runKernel<Tensor[]>('BatchNormActivation', { x, ...tensors, ...(summand ? { summand } : {}) }, options);
  if (!options.training) return { y: y!, batch: null, moved: null };
  return { y: y!, batch: { mean: mean!, inverseDeviation: inverseDeviation! }, moved: { mean: runningMean!, variance: runningVariance! } };
}

export interface ActivatedGradients extends BatchNormGradients { dSum: Tensor | null }

/** The gradients of the same. `y`, ReLU's output, is needed where something was added before it; `dSum` is that of the sum. */
export function batchNormActivationBackward(dy: Tensor, x: Tensor, y: Tensor | null, tensors: BatchNormTensors, batch: BatchStatistics | null, { epsilon, relu, needs }: { epsilon: number; relu: boolean; needs: { input: boolean; parameters: boolean; sum: boolean } }): ActivatedGradients {
  const saved = { ...(y ? { y } : {}), ...(batch ? { batchMean: batch.mean, inverseDeviation: batch.inverseDeviation } : {}) };
  const outputs = runKernel<Tensor[]>('BatchNormActivationBackward', { dy, x, ...tensors, ...saved }, { epsilon, relu, needsInput: needs.input, needsParameters: needs.parameters, needsSum: needs.sum });
  const take = (wanted: boolean) => (wanted ? outputs.shift()! : null);
  return { dx: take(needs.input), dScale: take(needs.parameters), dShift: take(needs.parameters), dSum: take(needs.sum) };
}
