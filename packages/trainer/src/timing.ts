import { UserError } from '@chameleon/core';

/** Every wait of a run over several machines follows from one number, so that their order can't be wrong. */
export interface Timing {
  /** After so long without a word either side counts the other as lost. The one that a user sets. */
  detectionMs: number;
  heartbeatMs: number;
  /** How long giving an exchange up may take before a worker's watchdog ends its process. */
  watchdogMs: number;
  /** How long a worker may be busy with its own pictures before it hears of a generation's end; then the others go on without it. */
  abandonMs: number;
  /** How long the step at hand may take after a pause. */
  pauseMs: number;
  /** Where neither a broken connection nor the coordinator tells: long, because a slow rank is not a lost one. */
  exchangeTimeoutMs: number;
  /** How long a worker trains on, and looks for it, without its coordinator. */
  orphanMs: number;
  /** How long those that come one after the other are gathered. */
  joinWindowMs: number;
}

export const DEFAULT_DETECTION_MS = 3_000;

/** Below, a busy machine looks like a lost one; above, nobody wants to wait. */
const LEAST_MS = 200, MOST_MS = 600_000;

/** @throws UserError when the detection time is out of bounds */
export function timingOf(detectionMs: number = DEFAULT_DETECTION_MS): Timing {
  if (!(detectionMs >= LEAST_MS && detectionMs <= MOST_MS)) throw new UserError(`A detection time of ${detectionMs / 1000} s can't be kept. Choose one from ${LEAST_MS / 1000} to ${MOST_MS / 1000} s with --detection-time.`, { exitCode: 2 });
  return {
    detectionMs,
    heartbeatMs: Math.max(50, Math.round(detectionMs / 6)),
    watchdogMs: 3 * detectionMs,
    abandonMs: 10 * detectionMs,
    pauseMs: 10 * detectionMs,
    exchangeTimeoutMs: Math.max(60_000, 20 * detectionMs),
    orphanMs: Math.max(60_000, 20 * detectionMs),
    joinWindowMs: detectionMs,
  };
}
