import { median } from '../median.js';

/** Seconds that a worker spent in each phase of a step. */
export interface PhaseTimes {
  worker: string;
  seconds: Readonly<Record<string, number>>;
}

/** What a worker does itself; in the others it waits for its peers. */
const OWN_PHASES = ['data', 'forward', 'backward', 'optimizer'] as const;
/** So many times the median of the others, and it is the one that they wait for. */
const SLOWER_BY = 1.3;

/** Own work, waits left out. */
export const busySeconds = ({ seconds }: Pick<PhaseTimes, 'seconds'>): number => OWN_PHASES.reduce((sum, phase) => sum + (seconds[phase] ?? 0), 0);

/** The worker that the others wait for, with the phase that it loses its time in; empty where none stands out. */
export function findStraggler(times: readonly PhaseTimes[]): string {
  if (times.length < 2) return '';
  const slowest = times.reduce((worst, one) => (busySeconds(one) > busySeconds(worst) ? one : worst));
  const others = times.filter((one) => one !== slowest);
  const usual = median(others.map(busySeconds));
  if (!(usual > 0) || busySeconds(slowest) < SLOWER_BY * usual) return '';
  const excess = OWN_PHASES.map((phase) => ({ phase, seconds: (slowest.seconds[phase] ?? 0) - median(others.map((one) => one.seconds[phase] ?? 0)) }));
  const worst = excess.reduce((a, b) => (b.seconds > a.seconds ? b : a));
  return `${slowest.worker}: ${(busySeconds(slowest) / usual).toFixed(1)} times the others' work, most of it in ${worst.phase} (+${worst.seconds.toFixed(3)} s a step)`;
}
