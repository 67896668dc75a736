import { type ReactNode, useRef } from 'react';
import { ApiError } from '../api.js';
import { formatTime } from '../format.js';
import { type CurveData, type Freshness, toCsv } from './curves.js';
import { Plot, type PlotProps } from './plot.js';

/** Of a row, where there is room for so many side by side. */
export type PanelSize = 'third' | 'half' | 'wide';

/** A panel's frame: its title, what state it is in, and what it holds. */
export function Panel({ title, hint, status, children, actions, size = 'third', query }: { title: string; hint?: string; status?: ReactNode; children: ReactNode; actions?: ReactNode; size?: PanelSize; query?: string }): ReactNode {
  return (
    <section className={`panel ${size}`} aria-label={title} data-query={query}>
      <header>
        <h2>{title}</h2>
        <span className="status">{status}</span>
        {actions}
      </header>
      {hint === undefined ? null : <p className="hint">{hint}</p>}
      {children}
    </section>
  );
}

export const Loading = (): ReactNode => <div className="state loading" role="status"><span>Loading …</span></div>;
export const Empty = ({ children }: { children: ReactNode }): ReactNode => <div className="state empty"><span>{children}</span></div>;
export const Failed = ({ error }: { error: Error }): ReactNode => <div className="state failed" role="alert"><span>{error instanceof ApiError ? error.message : `This page has a fault: ${error.message}`}</span></div>;

export interface PlotPanelProps extends Omit<PlotProps, 'data' | 'onReady'> {
  hint?: string;
  data: CurveData | undefined;
  error: Error | null;
  /** A sentence for when there is nothing to draw. */
  empty: string;
  freshness?: Freshness;
  size?: PanelSize;
  /** The query whose answer is drawn. */
  query?: string;
}

/** A plot in its frame, in whichever state it is, with what saves it. What was drawn stays when an answer fails. */
export function PlotPanel({ hint, data, error, empty, freshness, size = 'third', query, ...plot }: PlotPanelProps): ReactNode {
  const canvas = useRef<HTMLCanvasElement | null>(null);
  const something = data !== undefined && data.lines.length > 0 && data.x.length > 0;
  const file = plot.title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const actions = something ? (
    <span className="actions">
      <button type="button" onClick={() => canvas.current && savePicture(canvas.current, plot.title, data, `${file}.png`)} aria-label={`Save ${plot.title} as PNG`}>PNG</button>
      <button type="button" onClick={() => saveFile(new Blob([toCsv(data, plot.xKind)], { type: 'text/csv' }), `${file}.csv`)} aria-label={`Save ${plot.title} as CSV`}>CSV</button>
    </span>
  ) : null;
  return (
    <Panel title={plot.title} size={size} status={<Status freshness={freshness} loading={data === undefined && error === null} />} actions={actions} {...(hint === undefined ? {} : { hint })} {...(query === undefined ? {} : { query })}>
      {error ? <Failed error={error} /> : null}
      {something ? <Plot {...plot} data={data} onReady={(made) => (canvas.current = made)} /> : error ? null : data === undefined ? <Loading /> : <Empty>{empty}</Empty>}
    </Panel>
  );
}

function Status({ freshness, loading }: { freshness: Freshness | undefined; loading: boolean }): ReactNode {
  if (loading || freshness === undefined) return null;
  switch (freshness.kind) {
    case 'stale':
      return <span className="stale">nothing since {formatTime(freshness.sinceMs)}</span>;
    case 'complete':
      return 'complete';
    case 'live':
    case 'empty':
      return null;
    default:
      return freshness satisfies never;
  }
}

export function saveFile(content: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The plot with its title and the names of its lines, on the page's background. */
function savePicture(plot: HTMLCanvasElement, title: string, data: CurveData, name: string): void {
  const style = getComputedStyle(document.documentElement);
  const scale = devicePixelRatio, head = 34 * scale, foot = (16 + 20 * Math.ceil(data.lines.length / 4)) * scale;
  const picture = document.createElement('canvas');
  [picture.width, picture.height] = [plot.width, plot.height + head + foot];
  const context = picture.getContext('2d')!;
  context.fillStyle = style.getPropertyValue('--raised');
  context.fillRect(0, 0, picture.width, picture.height);
  context.fillStyle = style.getPropertyValue('--text');
  context.font = `600 ${15 * scale}px system-ui, sans-serif`;
  context.fillText(title, 12 * scale, 23 * scale);
  context.drawImage(plot, 0, head);
  context.font = `${12 * scale}px system-ui, sans-serif`;
  data.lines.forEach(({ name: line }, i) => {
    const [x, y] = [12 * scale + ((i % 4) * picture.width) / 4, plot.height + head + (16 + 20 * Math.floor(i / 4)) * scale];
    context.fillStyle = style.getPropertyValue(`--series-${(i % 8) + 1}`);
    context.fillRect(x, y - 5 * scale, 14 * scale, 3 * scale);
    context.fillStyle = style.getPropertyValue('--text');
    context.fillText(line, x + 20 * scale, y, picture.width / 4 - 24 * scale);
  });
  picture.toBlob((blob) => blob && saveFile(blob, name));
}
