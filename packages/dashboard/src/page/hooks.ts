import { type UseQueryResult, keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { createContext, useCallback, useContext, useEffect, useState, useSyncExternalStore } from 'react';
import { type Curve, type QueryAnswer, type RunDetail, type Session, curveSchema, liveStepsSchema, overviewSchema, queryAnswerSchema, runDetailSchema, runListSchema } from '../contract.js';
import type { QueryName } from '../queries/catalogue.js';
import { ask } from './api.js';
import { type View, formatView, momentsOf, parseView } from './view.js';

/** How often is asked while events don't come. */
const POLL_MS = 5_000;

const subscribe = (listener: () => void): (() => void) => {
  addEventListener('popstate', listener);
  return () => removeEventListener('popstate', listener);
};

/** The view, and what changes it. The address is where it lives; going back goes back to the view before. */
export function useView(): { view: View; go: (change: Partial<View>) => void; hrefOf: (change: Partial<View>) => string } {
  const search = useSyncExternalStore(subscribe, () => location.search);
  const view = parseView(search);
  const hrefOf = (change: Partial<View>) => `/${formatView({ ...parseView(search), ...change })}`;
  const go = useCallback((change: Partial<View>) => {
    history.pushState(null, '', `/${formatView({ ...parseView(location.search), ...change })}`);
    dispatchEvent(new PopStateEvent('popstate'));
  }, []);
  return { view, go, hrefOf };
}

export const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (session === null) throw new Error('no session');
  return session;
}

/** `events`: the server says when there is something new. `polling`: it is asked. `standing`: the span stands still. */
export type LiveState = 'events' | 'polling' | 'standing';
export const LiveContext = createContext<LiveState>('polling');

/** Ticks come after every target's scrape: the page asks anew no more often than this. */
const TICK_MS = 1_000;

/** Listens to the server's events, and has what is shown asked for anew; falls back to polling while they are broken. */
export function useLiveEvents(view: View): LiveState {
  const client = useQueryClient();
  const [connected, setConnected] = useState(false);
  const stands = view.span.kind === 'fixed';
  const run = view.page === 'run' ? view.run : null;
  useEffect(() => {
    const events = new EventSource(run === null ? '/api/live' : `/api/live?run=${encodeURIComponent(run)}`);
    let lastMs = 0;
    events.addEventListener('open', () => setConnected(true));
    events.addEventListener('error', () => setConnected(false));
    events.addEventListener('tick', () => {
      if (document.hidden || Date.now() - lastMs < TICK_MS) return;
      lastMs = Date.now();
      void client.invalidateQueries({ queryKey: ['overview'] });
      if (!stands) void client.invalidateQueries({ queryKey: ['metric'] });
    });
    events.addEventListener('steps', ({ data }: MessageEvent<string>) => {
      const steps = liveStepsSchema.safeParse(JSON.parse(data)).data;
      if (steps) void client.invalidateQueries({ queryKey: ['run', steps.run] });
    });
    return () => events.close();
  }, [client, run, stands]);
  return stands ? 'standing' : connected ? 'events' : 'polling';
}

function usePoll(): number | false {
  return useContext(LiveContext) === 'polling' ? POLL_MS : false;
}

/** A named query over the view's span. */
export function useMetric(name: QueryName, { run, model }: { run?: string | null; model?: string | null } = {}): UseQueryResult<QueryAnswer> {
  const { view: { span } } = useView();
  const { source: { intervalMs } } = useSession();
  return useQuery({
    queryKey: ['metric', name, run ?? null, model ?? null, span],
    queryFn: ({ signal }) => ask('query', queryAnswerSchema, { name, run, model, ...momentsOf(span, Date.now(), intervalMs) }, signal),
    refetchInterval: usePoll(),
    placeholderData: keepPreviousData,
  });
}

export const useOverview = () => useQuery({ queryKey: ['overview'], queryFn: ({ signal }) => ask('overview', overviewSchema, {}, signal), refetchInterval: POLL_MS });

export function useRuns(filter = '', offset = 0) {
  const { hasRuns } = useSession();
  return useQuery({ queryKey: ['runs', filter, offset], enabled: hasRuns, queryFn: ({ signal }) => ask('runs', runListSchema, { filter, offset }, signal), refetchInterval: POLL_MS, placeholderData: keepPreviousData });
}

/** A long record is read bit by bit: until it is whole, it is asked for again. */
const untilWhole = (readShare: number | undefined): number | false => (readShare !== undefined && readShare < 1 ? 1_000 : POLL_MS);

export function useRun(id: string | null): UseQueryResult<RunDetail> {
  const { hasRuns } = useSession();
  return useQuery({ queryKey: ['run', id, 'detail'], enabled: hasRuns && id !== null, queryFn: ({ signal }) => ask(`runs/${encodeURIComponent(id!)}`, runDetailSchema, {}, signal), refetchInterval: ({ state }) => untilWhole(state.data?.readShare) });
}

export function curveQuery(id: string, zoom: readonly [number, number] | null, points = 800) {
  return {
    queryKey: ['run', id, 'curve', zoom, points],
    queryFn: ({ signal }: { signal: AbortSignal }): Promise<Curve> => ask(`runs/${encodeURIComponent(id)}/curve`, curveSchema, { points, ...(zoom ? { from: Math.floor(zoom[0]), to: Math.ceil(zoom[1]) } : {}) }, signal),
    refetchInterval: ({ state }: { state: { data?: Curve | undefined } }) => untilWhole(state.data?.readShare),
    placeholderData: keepPreviousData as <T>(previous: T | undefined) => T | undefined,
  };
}

export type Theme = 'light' | 'dark';
const darkQuery = matchMedia('(prefers-color-scheme: dark)');

/** The theme that is shown, and what turns it over; it is remembered on this machine. */
export function useTheme(): [Theme, () => void] {
  const [chosen, setChosen] = useState<Theme | null>(() => (['light', 'dark'] as const).find((name) => name === localStorage.getItem('theme')) ?? null);
  const system = useSyncExternalStore((listener) => {
    darkQuery.addEventListener('change', listener);
    return () => darkQuery.removeEventListener('change', listener);
  }, () => (darkQuery.matches ? 'dark' : 'light'));
  const theme = chosen ?? system;
  useEffect(() => {
    document.documentElement.dataset['theme'] = theme;
  }, [theme]);
  const turn = () => {
    const next = theme === 'dark' ? 'light' : 'dark';
    localStorage.setItem('theme', next);
    document.documentElement.dataset['theme'] = next;
    setChosen(next);
  };
  return [theme, turn];
}

export const ThemeContext = createContext<Theme>('light');
