import type { QueryAnswer } from '../../contract.js';
import { formatSeconds } from '../format.js';

/** The phases that a worker spends on its own; in `exchange` it waits for the others. */
const OWN = ['data', 'forward', 'backward', 'optimizer'];
/** Beyond it one worker holds up the others by more than chance does. */
const NOTABLE = 1.15;

export interface LateWorker {
  worker: string;
  phase: string;
  /** s a step that it takes longer than the median of all. */
  behindSeconds: number;
}

/** Who is late now, and what with, by the mean seconds that each worker spends in each phase; null where nobody is, or one works alone. */
export function findLateWorker(answer: QueryAnswer): LateWorker | null {
  const workers = new Map<string, Map<string, number>>();
  for (const { labels: { worker = '', phase = '' }, values } of answer.lines) {
    const seconds = values.findLast((value) => value !== null);
    if (!OWN.includes(phase) || seconds === undefined || seconds === null || !Number.isFinite(seconds)) continue;
    workers.set(worker, (workers.get(worker) ?? new Map<string, number>()).set(phase, seconds));
  }
  if (workers.size < 2) return null;
  const totals = [...workers].map(([worker, phases]) => ({ worker, phases, total: [...phases.values()].reduce((sum, seconds) => sum + seconds, 0) })).sort((a, b) => b.total - a.total);
  const slowest = totals[0]!, usual = median(totals.slice(1).map(({ total }) => total));
  if (slowest.total < NOTABLE * usual) return null;
  const excess = (phase: string) => (slowest.phases.get(phase) ?? 0) - median(totals.slice(1).map(({ phases }) => phases.get(phase) ?? 0));
  const phase = [...slowest.phases.keys()].reduce((worst, name) => (excess(name) > excess(worst) ? name : worst));
  return { worker: slowest.worker, phase, behindSeconds: slowest.total - usual };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const DOING: Record<string, string> = { data: 'reading its pictures', forward: 'in the forward pass', backward: 'in the backward pass', optimizer: 'in the optimizer' };

export const describeLate = ({ worker, phase, behindSeconds }: LateWorker): string => `${worker} is late: it takes ${formatSeconds(behindSeconds)} a step longer than the others, most of it ${DOING[phase] ?? phase}.`;
