export interface EarlyStoppingOptions {
  /** Epochs without an improvement after which a run stops, from 1. */
  patience: number;
  /** By how much an epoch must be better than the best so far to count as an improvement. */
  minDelta?: number;
}

/**
 * Whether a run should stop, by its validation accuracy after each epoch (higher is better), and the epoch, from 0, that
 * improved last: -1 where none did. An epoch whose figure is NaN is no improvement.
 * @throws RangeError for a patience below 1 or a negative `minDelta`
 */
export function earlyStopping({ patience, minDelta = 0 }: EarlyStoppingOptions, history: readonly number[]): { stop: boolean; bestEpoch: number } {
  if (!(patience >= 1)) throw new RangeError(`patience is at least one epoch, not ${patience}`);
  if (!(minDelta >= 0)) throw new RangeError(`minDelta is at least 0, not ${minDelta}`);
  let best = -Infinity, bestEpoch = -1;
  for (const [epoch, value] of history.entries()) if (value > best + minDelta) [best, bestEpoch] = [value, epoch];
  return { stop: history.length - 1 - bestEpoch >= patience, bestEpoch };
}
