import tQuantile from '@stdlib/stats-base-dists-t-quantile';

export interface MeanInterval {
  readonly mean: number;
  readonly halfWidth: number;
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** One value has no spread: `halfWidth` is 0 and says nothing. */
  readonly single: boolean;
}

/** The 97.5 % quantile of the standard normal distribution. */
const NORMAL_QUANTILE = 1.959963984540054;

/**
 * The mean and its confidence interval by Student's t: mean ± t(n-1) s / √n.
 * @throws RangeError without a value
 */
export function meanInterval(values: readonly number[], level = 0.95): MeanInterval {
  const count = values.length;
  if (count === 0) throw new RangeError('an interval needs at least one value');
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count === 1) return { mean, halfWidth: 0, low: mean, high: mean, count, single: true };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  const halfWidth = tQuantile((1 + level) / 2, count - 1) * Math.sqrt(variance / count);
  return { mean, halfWidth, low: mean - halfWidth, high: mean + halfWidth, count, single: false };
}

/**
 * What `after` is worth against `before`: the mean of the differences seed by seed, with its interval.
 * Both lists are in the order of the seeds; where one is shorter, the seeds that both have count.
 * @returns null where they have no seed in common
 */
export function pairedDifference(after: readonly number[], before: readonly number[], level = 0.95): MeanInterval | null {
  const count = Math.min(after.length, before.length);
  if (count === 0) return null;
  return meanInterval(Array.from({ length: count }, (_, seed) => after[seed]! - before[seed]!), level);
}

/**
 * The 95 % interval of a proportion (Wilson, 1927): unlike the normal one it stays within [0, 1]
 * and has a width even when everything was right.
 */
export function wilsonInterval(successCount: number, count: number): { low: number; high: number } {
  if (count === 0) return { low: 0, high: 1 };
  const proportion = successCount / count;
  const z2 = NORMAL_QUANTILE ** 2;
  const centre = (proportion + z2 / (2 * count)) / (1 + z2 / count);
  const halfWidth = (NORMAL_QUANTILE / (1 + z2 / count)) * Math.sqrt((proportion * (1 - proportion)) / count + z2 / (4 * count * count));
  return { low: Math.max(0, centre - halfWidth), high: Math.min(1, centre + halfWidth) };
}
