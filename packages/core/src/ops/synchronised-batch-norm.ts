import { type Tensor, add, concat, div, maximum, mean as meanOf, minimum, mul, pad, reshape, rsqrt, scalar, slice, square, sub, sum as sumOf, tidy } from '@tensorflow/tfjs-core';
import { type BatchNormGradients, type BatchNormOptions, type BatchNormTensors, type BatchNormTraining, type BatchStatistics, batchNormBackward, batchNormInference } from './batch-norm.js';
import { type Precision, hasKernel, release, runKernel } from './kernels.js';
import { toPrecision } from './precision.js';

/**
 * BatchNorm over the pictures of all ranks, torch.nn.SyncBatchNorm. Each rank takes count, mean and sum of squared deviations of its own
 * rows; these are gathered and merged by all alike (Chan, Golub and LeVeque, 1979), so all ranks hold the same bits, and nothing cancels as
 * in a sum of squares. On the way back, two sums over the channels are added up.
 */

/** How the layers of one pass reach those of the other ranks. All ranks make the same calls in the same order. */
export interface AcrossRanks {
  rank: number;
  worldSize: number;
  /** Whether the rows of this pass belong to the batch. A rank without pictures passes one that doesn't, so as to make the same calls. */
  counted: boolean;
  /** Takes over a float32 tensor and gives its sum over the ranks, the same bits on all; blocks until all have brought theirs. */
  sum: (values: Tensor) => Tensor;
}

/** What the forward pass leaves for the way back. */
export interface GlobalStatistics extends BatchStatistics {
  /** Rows times places over all ranks, [1]. */
  count: Tensor;
}

const reduced = (x: Tensor): number[] => x.shape.slice(0, -1).map((_, axis) => axis);
const channelsOf = (x: Tensor): number => x.shape[x.shape.length - 1]!;

/** As `batchNormTraining`, with the statistics of all ranks' rows. */
export function synchronisedTraining(x: Tensor, tensors: BatchNormTensors, options: BatchNormOptions, across: AcrossRanks): BatchNormTraining & { batch: GlobalStatistics } {
  const channels = channelsOf(x);
  const gathered = across.sum(ownMoments(x, tensors, across));
  const [mean, variance, inverseDeviation, count, runningMean, runningVariance] = tidy(() => merge(gathered, channels, tensors, options));
  const y = batchNormInference(x, { ...tensors, mean: mean!, variance: variance! }, options);
  release(gathered, variance);
  return { y, batch: { mean: mean!, inverseDeviation: inverseDeviation!, count: count! }, runningMean: runningMean!, runningVariance: runningVariance! };
}

/** [worldSize, 1 + 2 channels]: this rank's count, means and sums of squared deviations in its row, zeros in the others: their sum is all of them. */
function ownMoments(x: Tensor, tensors: BatchNormTensors, { rank, worldSize, counted }: AcrossRanks): Tensor {
  return tidy(() => {
    const count = x.size / channelsOf(x);
    const [mean, variance] = moments(x, tensors);
    const row = concat([reshape(scalar(count), [1]), mean as Tensor<never>, mul(variance, scalar(count))]);
    return pad(reshape(mul(row, scalar(counted ? 1 : 0)), [1, row.size]), [[rank, worldSize - rank - 1], [0, 0]]);
  });
}

/** Mean and biased variance of each channel, in float32. */
function moments(x: Tensor, { mean, variance }: BatchNormTensors): [Tensor, Tensor] {
  if (hasKernel('BatchNormMoments')) return runKernel<Tensor[]>('BatchNormMoments', { x, mean, variance }) as [Tensor, Tensor];
  const m = meanOf(x, reduced(x));
  return [m, meanOf(square(sub(x, m)), reduced(x))];
}

/** Where no rank brought a row, the running statistics stay. */
function merge(gathered: Tensor, channels: number, tensors: BatchNormTensors, options: BatchNormOptions): Tensor[] {
  const worldSize = gathered.shape[0]!;
  const [counts, means, deviations] = [[0, 1], [1, channels], [1 + channels, channels]].map(([from, length]) => slice(gathered, [0, from!], [worldSize, length!])) as [Tensor, Tensor, Tensor];
  const count = sumOf(counts, 0), atLeastOne = maximum(count, scalar(1));
  const mean = div(sumOf(mul(counts, means), 0), atLeastOne);
  const whole = sumOf(add(deviations, mul(counts, square(sub(means, mean)))), 0);
  const variance = div(whole, atLeastOne);
  const weight = mul(minimum(count, scalar(1)), scalar(options.momentum));
  const moved = (running: Tensor, current: Tensor) => add(mul(running, sub(scalar(1), weight)), mul(current, weight));
  return [mean, variance, rsqrt(add(variance, scalar(options.epsilon))), atLeastOne, moved(tensors.mean, mean), moved(tensors.variance, div(whole, maximum(sub(count, scalar(1)), scalar(1))))];
}

/** As `batchNormBackward`. The gradients of scale and shift are those of this rank's rows: they are summed with all others. */
export function synchronisedBackward(dy: Tensor, x: Tensor, tensors: BatchNormTensors, batch: GlobalStatistics, options: BatchNormOptions & { precision: Precision }, needs: { input: boolean; parameters: boolean }, across: AcrossRanks): BatchNormGradients {
  const own = batchNormBackward(dy, x, tensors, batch, options, { input: false, parameters: true });
  const dx = needs.input ? inputGradient(dy, x, tensors.scale, batch, options.precision, across, [own.dShift!, own.dScale!]) : null;
  if (needs.parameters) return { ...own, dx };
  release(own.dScale, own.dShift);
  return { dx, dScale: null, dShift: null };
}

/** Ioffe and Szegedy, 2015, section 3, with sums and count over all ranks. */
function inputGradient(dy: Tensor, x: Tensor, scale: Tensor, { mean, inverseDeviation, count }: GlobalStatistics, precision: Precision, across: AcrossRanks, own: Tensor[]): Tensor {
  const channels = channelsOf(x);
  const sums = across.sum(tidy(() => concat(own as Tensor<never>[])));
  const dx = tidy(() => {
    const shiftGradient = slice(sums, [0], [channels]), scaleGradient = slice(sums, [channels], [channels]);
    const normalized = mul(sub(x, mean), inverseDeviation);
    const through = mul(mul(inverseDeviation, scale), scalar(across.counted ? 1 : 0));
    return toPrecision(mul(through, sub(dy, div(add(shiftGradient, mul(normalized, scaleGradient)), count))), precision);
  });
  sums.dispose();
  return dx;
}
