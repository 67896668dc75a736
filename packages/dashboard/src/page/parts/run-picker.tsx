import { type ReactNode, useEffect } from 'react';
import { useMetric, useRuns, useSession, useView } from '../hooks.js';
import { formatView } from '../view.js';

/** The runs that there are, by their directories or else by their metrics; newest first. */
export function useRunNames(): string[] {
  const { hasRuns } = useSession();
  const { data: listed } = useRuns();
  const { data: measured } = useMetric('runs');
  const fromMetrics = (measured?.lines ?? []).map(({ labels }) => labels['run'] ?? '').sort().reverse();
  const known = hasRuns ? (listed?.runs ?? []).map(({ id }) => id) : [];
  return [...known, ...fromMetrics.filter((name) => !known.includes(name))];
}

/** The run of the view, or the newest; null while none is known. The address says which, so that a link shows the same one later. */
export function useChosenRun(): string | null {
  const { view } = useView();
  const [newest = null] = useRunNames();
  const chosen = view.run ?? newest;
  useEffect(() => {
    if (view.run !== null || newest === null) return;
    history.replaceState(null, '', `/${formatView({ ...view, run: newest })}`);
    dispatchEvent(new PopStateEvent('popstate'));
  }, [view.run, newest]);
  return chosen;
}

export function RunPicker({ run }: { run: string }): ReactNode {
  const names = useRunNames();
  const { go } = useView();
  const offered = names.includes(run) ? names : [run, ...names];
  return (
    <div className="picker">
      <label>Run <select value={run} onChange={({ target }) => go({ run: target.value, zoom: null })}>{offered.map((name) => <option key={name}>{name}</option>)}</select></label>
    </div>
  );
}
