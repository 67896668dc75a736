import { type Split, weightedSplit } from './split.js';

/**
 * When shares follow measured speed, they are made anew during a run where that pays: making them anew costs a generation, and a measured
 * speed is never quite the true one. So a step has to become shorter by more than speeds vary, each rank has to have been measured several
 * times with the shares that it has, and who was revised already is measured for twice as long before the next time.
 */

/** By how much a step has to become shorter. */
const WORTH_IT = 0.1;
/** Readings of each rank's speed within a generation, before the first revision. */
const READINGS = 6;
const MOST_DOUBLINGS = 6;

export interface MeasuredRank {
  /** Pictures a second; null before it is known. */
  speed: number | null;
  /** Readings of it with the shares of now. */
  readings: number;
}

/** Shares that make a step shorter by so much that it is worth a new generation, or null. */
export function betterSplit(split: Split, ranks: readonly MeasuredRank[], batchSize: number, revisions: number): number[] | null {
  const needed = READINGS * 2 ** Math.min(revisions, MOST_DOUBLINGS);
  if (ranks.length < 2 || ranks.some(({ speed, readings }) => speed === null || readings < needed)) return null;
  const speeds = ranks.map(({ speed }) => speed!);
  const better = weightedSplit(batchSize, speeds);
  return stepSeconds(better, speeds) < (1 - WORTH_IT) * stepSeconds(split, speeds) ? better : null;
}

/** All wait for the slowest. */
export const stepSeconds = (split: Split, speeds: readonly number[]): number => Math.max(...split.map((share, rank) => share / speeds[rank]!));

/** Shares by speed; who isn't measured yet is taken to be as fast as the others are on the mean. Null where nobody is measured. */
export function splitBySpeed(batchSize: number, speeds: readonly (number | null)[]): number[] | null {
  const known = speeds.filter((speed) => speed !== null);
  if (known.length === 0) return null;
  const mean = known.reduce((sum, speed) => sum + speed, 0) / known.length;
  return weightedSplit(batchSize, speeds.map((speed) => speed ?? mean));
}

/** How much of a new reading goes into the speed that is kept: a single slow step changes little. */
const NEW_SHARE = 0.3;

/** A speed after another reading. The first of a generation has its start in it and counts only where nothing is known. */
export function withReading({ speed, readings }: MeasuredRank, reading: number): MeasuredRank {
  const kept = speed === null ? reading : readings === 0 ? speed : (1 - NEW_SHARE) * speed + NEW_SHARE * reading;
  return { speed: kept, readings: readings + 1 };
}
