/** Which version answers, and whether a canary stays: pure, so that tables of cases test it. */

export interface Canary {
  version: string;
  /** Of the requests that name no version, the part that it answers; 0 … 1. With `shadow`, the part that it computes unseen. */
  trafficShare: number;
  /** Its answers are compared and thrown away. */
  shadow: boolean;
}

export interface Labels {
  stable: string | null;
  canary: Canary | null;
}

/**
 * The version for a request.
 * @param wanted a version's name, `stable`, `canary`, or undefined for the labels' choice
 * @param draw uniform in [0, 1)
 * @returns null when the label asked for stands at no version
 */
export function chooseVersion({ stable, canary }: Labels, wanted: string | undefined, draw: number): string | null {
  if (wanted === 'canary') return canary?.version ?? null;
  if (wanted === 'stable') return stable;
  if (wanted !== undefined) return wanted;
  return canary && !canary.shadow && draw < canary.trafficShare ? canary.version : stable;
}

/** What was seen of a version since the canary began. */
export interface Tally {
  requests: number;
  /** Requests that failed by the server's fault. */
  errors: number;
  /** Pictures by their most probable class. */
  classes: Map<string, number>;
}

export const emptyTally = (): Tally => ({ requests: 0, errors: 0, classes: new Map() });

export interface CanaryBounds {
  /** Requests of either version before its class shares are judged; errors are judged from a fifth of it on. */
  minRequests: number;
  /** By how much its error rate may lie above the stable version's. */
  maxErrorRate: number;
  /** By how much any class's share of the answers may differ. */
  maxClassShare: number;
}

export const DEFAULT_CANARY_BOUNDS: CanaryBounds = { minRequests: 100, maxErrorRate: 0.02, maxClassShare: 0.15 };

/** Why a canary has to go, or null. A difference counts when it exceeds its bound by more than two standard errors. */
export function judgeCanary(stable: Tally, canary: Tally, bounds: CanaryBounds): string | null {
  if (canary.requests >= bounds.minRequests / 5) {
    const [theirs, ours] = [rate(stable.errors, stable.requests), rate(canary.errors, canary.requests)];
    if (ours - theirs > bounds.maxErrorRate + 2 * deviation(stable.errors + canary.errors, stable.requests + canary.requests, canary.requests)) {
      return `${percent(ours)} of its requests failed, against ${percent(theirs)} of the stable version's`;
    }
  }
  if (canary.requests < bounds.minRequests || stable.requests < bounds.minRequests) return null;
  const [stableCount, canaryCount] = [total(stable), total(canary)];
  for (const label of new Set([...stable.classes.keys(), ...canary.classes.keys()])) {
    const a = stable.classes.get(label) ?? 0, b = canary.classes.get(label) ?? 0;
    const difference = Math.abs(rate(a, stableCount) - rate(b, canaryCount));
    if (difference > bounds.maxClassShare + 2 * deviation(a + b, stableCount + canaryCount, Math.min(stableCount, canaryCount))) {
      return `it calls ${percent(rate(b, canaryCount))} of the pictures ${label}, the stable version ${percent(rate(a, stableCount))}`;
    }
  }
  return null;
}

const rate = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
const total = ({ classes }: Tally): number => [...classes.values()].reduce((sum, count) => sum + count, 0);
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** The standard error of a share that is `part / whole` over all, seen in `count` cases. */
function deviation(part: number, whole: number, count: number): number {
  const share = rate(part, whole);
  return count === 0 ? 0 : Math.sqrt((share * (1 - share)) / count);
}
