import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, type ReactNode, useEffect, useState } from 'react';
import { sessionSchema } from '../contract.js';
import { ApiError, ask, logIn } from './api.js';
import { formatTime } from './format.js';
import { LiveContext, type LiveState, SessionContext, ThemeContext, useLiveEvents, useTheme, useView } from './hooks.js';
import { Compare } from './pages/compare.js';
import { Mistakes } from './pages/mistakes.js';
import { Overview, useFollow } from './pages/overview.js';
import { Run } from './pages/run.js';
import { Serving } from './pages/serving.js';
import { Failed, Loading } from './parts/panel.js';
import { PAGES, type PageName, SPANS, formatView } from './view.js';

const TITLES: Record<PageName, string> = { overview: 'Overview', run: 'Run', compare: 'Compare', serving: 'Serving', mistakes: 'Mistakes' };
const BODIES: Record<PageName, () => ReactNode> = { overview: Overview, run: Run, compare: Compare, serving: Serving, mistakes: Mistakes };

export function App(): ReactNode {
  const [theme, turnTheme] = useTheme();
  const { data: session, error } = useQuery({ queryKey: ['session'], queryFn: ({ signal }) => ask('session', sessionSchema, {}, signal), staleTime: 60_000, retry: (count, problem) => count < 2 && !(problem instanceof ApiError && problem.status === 401) });
  return (
    <ThemeContext value={theme}>
      {session ? <SessionContext value={session}><Shell turnTheme={turnTheme} theme={theme} /></SessionContext> : <main className="alone">{error instanceof ApiError && error.status === 401 ? <LogIn reason={error.message} /> : error ? <Failed error={error} /> : <Loading />}</main>}
    </ThemeContext>
  );
}

function LogIn({ reason }: { reason: string }): ReactNode {
  const client = useQueryClient();
  const [problem, setProblem] = useState('');
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const password = new FormData(event.currentTarget).get('password');
    try {
      await logIn(typeof password === 'string' ? password : '');
      await client.invalidateQueries();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <form className="panel login" onSubmit={(event) => void submit(event)}>
      <h1>Chameleon</h1>
      <p>{reason}</p>
      <label>Password <input name="password" type="password" autoComplete="current-password" required autoFocus /></label>
      <button type="submit">Log in</button>
      <p role="alert">{problem}</p>
    </form>
  );
}

function Shell({ theme, turnTheme }: { theme: string; turnTheme: () => void }): ReactNode {
  const { view, hrefOf } = useView();
  const follow = useFollow();
  const live = useLiveEvents(view);
  const Body = BODIES[view.page];
  useEffect(() => {
    document.title = `${TITLES[view.page]} · Chameleon`;
  }, [view.page]);
  return (
    <LiveContext value={live}>
      <a className="skip" href="#main">Skip to the panels</a>
      <header className="top">
        <span className="brand">Chameleon</span>
        <nav aria-label="Pages">{PAGES.map((page) => <a key={page} href={hrefOf({ page, zoom: null })} aria-current={page === view.page ? 'page' : undefined} onClick={follow({ page, zoom: null })}>{TITLES[page]}</a>)}</nav>
        <div className="tools">
          <SpanPicker />
          <LiveBadge live={live} />
          <button type="button" onClick={turnTheme} aria-label={theme === 'dark' ? 'Light colours' : 'Dark colours'} title={theme === 'dark' ? 'Light colours' : 'Dark colours'}>{theme === 'dark' ? '☀' : '☾'}</button>
        </div>
      </header>
      <main id="main" className="grid">
        <h1 className="visually-hidden">{TITLES[view.page]}</h1>
        <Body />
      </main>
    </LiveContext>
  );
}

function SpanPicker(): ReactNode {
  const { view, go } = useView();
  const { span } = view;
  const [copied, setCopied] = useState(false);
  // A link to what is seen now, not to what will be seen then.
  const copy = async () => {
    const now = Date.now();
    const fixed = span.kind === 'fixed' ? span : { kind: 'fixed' as const, startMs: now - span.minutes * 60_000, endMs: now };
    await navigator.clipboard.writeText(`${location.origin}/${formatView({ ...view, span: fixed })}`).catch(() => undefined);
    setCopied(true);
    setTimeout(() => setCopied(false), 2_000);
  };
  return (
    <>
      <label className="span"><span className="visually-hidden">Span of time</span>
        <select value={span.kind === 'last' ? String(span.minutes) : 'fixed'} onChange={({ target }) => target.value !== 'fixed' && go({ span: { kind: 'last', minutes: Number(target.value) } })}>
          {SPANS.map(({ minutes, text }) => <option key={minutes} value={minutes}>last {text}</option>)}
          {span.kind === 'last' && !SPANS.some(({ minutes }) => minutes === span.minutes) ? <option value={span.minutes}>last {span.minutes} min</option> : null}
          {span.kind === 'fixed' ? <option value="fixed">{formatTime(span.startMs, true)} to {formatTime(span.endMs, new Date(span.startMs).toDateString() !== new Date(span.endMs).toDateString())}</option> : null}
        </select>
      </label>
      <button type="button" onClick={() => void copy()}>{copied ? 'Copied' : 'Copy link'}</button>
    </>
  );
}

const LIVE: Record<LiveState, [string, string]> = { events: ['good', 'live'], polling: ['warn', 'polling'], standing: ['plain', 'standing still'] };
const LiveBadge = ({ live }: { live: LiveState }): ReactNode => <span className={`badge ${LIVE[live][0]}`} role="status">{LIVE[live][1]}</span>;
