import { type ReactNode, useMemo } from 'react';
import type { QueryName } from '../../queries/catalogue.js';
import type { Unit } from '../format.js';
import { useMetric, useSession, useView } from '../hooks.js';
import { curvesOf, freshnessOf } from './curves.js';
import { type PanelSize, PlotPanel } from './panel.js';
import type { PlotMark } from './plot.js';

export interface MetricPanelProps {
  title: string;
  query: QueryName;
  unit: Unit;
  run?: string | null;
  model?: string | null;
  /** What a line is called, by its labels; by default their values. */
  nameOf?: (labels: Readonly<Record<string, string>>) => string;
  hint?: string;
  empty: string;
  marks?: readonly PlotMark[];
  log?: boolean;
  size?: PanelSize;
  /** For what only some machines have: no panel where nothing reports it. */
  onlyWhereReported?: boolean;
}

const byValues = (labels: Readonly<Record<string, string>>): string => Object.entries(labels).filter(([name]) => name !== '__name__').map(([, value]) => value).join(' ') || 'all';

/** A named query over the page's span of time. Picking a part of it changes the span of all panels. */
export function MetricPanel({ title, query, unit, run, model, nameOf = byValues, hint, empty, marks, log, size, onlyWhereReported = false }: MetricPanelProps): ReactNode {
  const { view: { span }, go } = useView();
  const { source: { intervalMs } } = useSession();
  const { data: answer, error } = useMetric(query, { ...(run === undefined ? {} : { run }), ...(model === undefined ? {} : { model }) });
  const data = useMemo(() => (answer ? curvesOf(answer, nameOf) : undefined), [answer, nameOf]);
  const range = answer ? ([answer.startMs / 1000, (answer.startMs + (answer.count - 1) * answer.stepMs) / 1000] as const) : null;
  if (onlyWhereReported && (data?.lines.length ?? 0) === 0) return null;
  const freshness = data && answer ? freshnessOf(data, { stands: span.kind === 'fixed', endMs: answer.startMs + (answer.count - 1) * answer.stepMs, intervalMs, stepMs: answer.stepMs }) : undefined;
  return (
    <PlotPanel
      title={title} query={query} unit={unit} xKind="time" data={data} error={error} empty={empty} range={range} syncKey="time"
      onZoom={(from, to) => go({ span: { kind: 'fixed', startMs: Math.round(from * 1000), endMs: Math.max(Math.round(to * 1000), Math.round(from * 1000) + 1000) } })}
      onReset={() => go({ span: { kind: 'last', minutes: 15 } })}
      {...(freshness ? { freshness } : {})} {...(hint === undefined ? {} : { hint })} {...(marks ? { marks } : {})} {...(log ? { log } : {})} {...(size ? { size } : {})}
    />
  );
}
