/** What the page shows, as its address says it: a link restores the view. */
export const PAGES = ['overview', 'run', 'compare', 'serving', 'mistakes'] as const;
export type PageName = (typeof PAGES)[number];
export type Axis = 'step' | 'epoch' | 'time';

/** The last minutes until now, or a span that stands still. */
export type TimeSpan = { kind: 'last'; minutes: number } | { kind: 'fixed'; startMs: number; endMs: number };

export interface View {
  page: PageName;
  /** Of the pages of one run; null: the newest. */
  run: string | null;
  /** Of the serving page; null: all. */
  model: string | null;
  /** Of the comparison. */
  runs: readonly string[];
  axis: Axis;
  span: TimeSpan;
  /** A part of a run's steps, or of what the axis counts; null: all. */
  zoom: readonly [number, number] | null;
}

export const SPANS: readonly { minutes: number; text: string }[] = [
  { minutes: 5, text: '5 min' },
  { minutes: 15, text: '15 min' },
  { minutes: 60, text: '1 h' },
  { minutes: 360, text: '6 h' },
  { minutes: 1440, text: '24 h' },
];
const DEFAULT_MINUTES = 15;
/** As many runs as can be told apart in one picture. */
export const COMPARED_LIMIT = 20;

export function parseView(search: string): View {
  const given = new URLSearchParams(search);
  const page = PAGES.find((name) => name === given.get('page')) ?? 'overview';
  const axis = (['step', 'epoch', 'time'] as const).find((name) => name === given.get('axis')) ?? 'step';
  return { page, axis, run: given.get('run'), model: given.get('model'), runs: given.getAll('with').slice(0, COMPARED_LIMIT), span: parseSpan(given), zoom: parsePair(given.get('zoom')) };
}

export function formatView({ page, run, model, runs, axis, span, zoom }: View): string {
  const given = new URLSearchParams();
  if (page !== 'overview') given.set('page', page);
  if (run !== null) given.set('run', run);
  if (model !== null) given.set('model', model);
  for (const name of runs) given.append('with', name);
  if (axis !== 'step') given.set('axis', axis);
  if (span.kind === 'fixed') given.set('time', `${span.startMs}-${span.endMs}`);
  else if (span.minutes !== DEFAULT_MINUTES) given.set('last', String(span.minutes));
  if (zoom !== null) given.set('zoom', zoom.join('-'));
  const text = given.toString();
  return text === '' ? '' : `?${text}`;
}

function parseSpan(given: URLSearchParams): TimeSpan {
  const fixed = parsePair(given.get('time'));
  if (fixed) return { kind: 'fixed', startMs: Math.round(fixed[0]), endMs: Math.round(fixed[1]) };
  const minutes = Number(given.get('last') ?? DEFAULT_MINUTES);
  return { kind: 'last', minutes: Number.isFinite(minutes) && minutes > 0 && minutes <= 60 * 24 * 365 ? minutes : DEFAULT_MINUTES };
}

function parsePair(text: string | null): readonly [number, number] | null {
  const match = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(text ?? '');
  if (!match) return null;
  const [from, to] = [Number(match[1]), Number(match[2])];
  return from < to ? [from, to] : null;
}

/** s between two points that a person can count in. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400];
const POINT_COUNT = 600;

/** What to ask of the server for a span: moments that stay where they are as time goes on, no closer together than scrapes are. */
export function momentsOf(span: TimeSpan, nowMs: number, intervalMs: number): { startMs: number; endMs: number; stepMs: number } {
  const [startMs, endMs] = span.kind === 'fixed' ? [span.startMs, span.endMs] : [nowMs - span.minutes * 60_000, nowMs];
  const least = Math.max((endMs - startMs) / 1000 / POINT_COUNT, intervalMs / 1000);
  const stepMs = 1000 * (STEPS.find((step) => step >= least) ?? Math.ceil(least));
  const start = Math.ceil(startMs / stepMs) * stepMs;
  return { startMs: start, stepMs, endMs: Math.max(start, Math.floor(endMs / stepMs) * stepMs) };
}
