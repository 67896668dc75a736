import { applyPhase } from '@chameleon/core';
import type { Dataset, PictureLoader } from '@chameleon/data';
import { stepInMemory } from './batch-that-fits.js';
import type { TrainConfig } from './config.js';
import { alone } from './exchange/exchange.js';
import { createOptimizer } from './fit.js';
import { parameterGroups } from './parameter-groups.js';
import { type StartWeights, startModel } from './train.js';

export interface RatePoint {
  learningRate: number;
  loss: number;
  /** An exponential mean with its start corrected, as fastai draws it. */
  smoothed: number;
}

export interface RateFinding {
  points: RatePoint[];
  /** Where the smoothed loss falls steepest; null when it never falls. */
  steepest: number | null;
  /** A tenth of the rate at the lowest smoothed loss. */
  tenthOfLowest: number | null;
}

export interface RateFindOptions {
  from?: number;
  to?: number;
  stepCount?: number;
  signal?: AbortSignal;
  onPoint?: (point: RatePoint) => void;
}

/**
 * The learning-rate range test (Smith, 2017): the rate rises by a constant factor from step to step until the loss
 * explodes. Runs on a model of its own, so nothing of a later run depends on it.
 */
export async function findLearningRate(config: TrainConfig, dataset: Dataset, loader: PictureLoader, weights: StartWeights, { from = 1e-6, to = 1, stepCount = 80, signal, onPoint }: RateFindOptions = {}): Promise<RateFinding> {
  const model = startModel(config, dataset.classes.length, weights);
  const optimizer = createOptimizer(config);
  const phase = config.recipe.phases[0]!;
  const points: RatePoint[] = [];
  try {
    applyPhase(model, phase);
    let average = 0, lowest = Infinity;
    for (let epoch = 0; points.length < stepCount; epoch++) {
      for await (const batch of loader.train({ seed: config.seed, epoch, batchSize: config.batchSize, augmentation: config.augmentation, dropLast: dataset.train.length >= config.batchSize })) {
        signal?.throwIfAborted();
        const learningRate = from * (to / from) ** (points.length / Math.max(1, stepCount - 1));
        const result = await stepInMemory({ ...batch, epoch, globalBatch: batch.rows }, parameterGroups(model, phase, learningRate), { model, optimizer, exchange: alone, settings: { ...config } });
        const loss = result.lossSum / result.pictureCount;
        average = 0.9 * average + 0.1 * loss;
        const point = { learningRate, loss, smoothed: average / (1 - 0.9 ** (points.length + 1)) };
        points.push(point);
        onPoint?.(point);
        lowest = Math.min(lowest, point.smoothed);
        if (points.length >= stepCount || !Number.isFinite(loss) || point.smoothed > 4 * lowest) return { points, ...suggestRates(points) };
      }
    }
    return { points, ...suggestRates(points) };
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}

/**
 * The two usual suggestions out of the curve. As in fastai the first tenth is left out: its means are of few steps, and
 * their noise would be taken for the steepest fall.
 */
export function suggestRates(points: readonly RatePoint[]): Pick<RateFinding, 'steepest' | 'tenthOfLowest'> {
  const finite = points.slice(Math.floor(points.length / 10)).filter((point) => Number.isFinite(point.smoothed));
  let steepest: number | null = null, slope = 0;
  for (let i = 1; i < finite.length; i++) {
    const fall = (finite[i]!.smoothed - finite[i - 1]!.smoothed) / Math.log(finite[i]!.learningRate / finite[i - 1]!.learningRate);
    if (fall < slope) [slope, steepest] = [fall, finite[i]!.learningRate];
  }
  const lowest = finite.reduce<RatePoint | null>((best, point) => (best === null || point.smoothed < best.smoothed ? point : best), null);
  return { steepest, tenthOfLowest: lowest && lowest.learningRate / 10 };
}
