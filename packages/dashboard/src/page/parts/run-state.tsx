import type { ReactNode } from 'react';
import type { RunSummary } from '../../contract.js';

const TONES: Record<RunSummary['state'], string> = { running: 'good', done: 'plain', 'stopped early': 'plain', interrupted: 'warn', failed: 'bad', silent: 'warn', empty: 'plain' };

export const RunState = ({ state }: { state: RunSummary['state'] }): ReactNode => <span className={`badge ${TONES[state]}`}>{state}</span>;

/** A run's name without what repeats: the day, the time and the recipe can be read. */
export function shortRun(id: string): string {
  const match = /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-(.+)$/.exec(id);
  return match ? `${match[7]!} · ${match[3]!}/${match[2]!} ${match[4]!}:${match[5]!}` : id;
}
