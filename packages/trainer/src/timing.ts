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

export function timingOf(detectionMs: number = DEFAULT_DETECTION_MS): Timing {
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
