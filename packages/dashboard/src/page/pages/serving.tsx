import { type ReactNode, useMemo } from 'react';
import { formatValue } from '../format.js';
import { useMetric, useView } from '../hooks.js';
import { MetricPanel } from '../parts/metric-panel.js';
import { Empty, Failed, Loading, Panel } from '../parts/panel.js';
import { Tiles } from '../parts/tiles.js';

type Labels = Readonly<Record<string, string>>;
const byStatus = ({ status = '' }: Labels): string => status;
const byQuantile = ({ quantile = '' }: Labels): string => quantile;
const byPhase = ({ phase = '' }: Labels): string => phase;
const byModel = ({ model = '' }: Labels): string => model;
const byReason = ({ reason = '' }: Labels): string => reason;
const byVersion = ({ version = '' }: Labels): string => `version ${version}`;
const byClass = (labels: Labels): string => labels['class'] ?? '';

export function Serving(): ReactNode {
  const { view: { model }, go } = useView();
  const models = useMetric('models');
  const names = useMemo(() => [...new Set((models.data?.lines ?? []).map(({ labels }) => labels['model'] ?? ''))].sort(), [models.data]);
  return (
    <>
      <div className="picker">
        <label>Model <select value={model ?? ''} onChange={({ target }) => go({ model: target.value === '' ? null : target.value })}><option value="">all</option>{(model !== null && !names.includes(model) ? [model, ...names] : names).map((name) => <option key={name}>{name}</option>)}</select></label>
      </div>
      <Promises />
      <MetricPanel size="half" title="Requests a second by status" query="requests" unit="rate" nameOf={byStatus} empty="No request was answered in this span of time." />
      <MetricPanel size="half" title="Time of a request" query="latency" unit="seconds" nameOf={byQuantile} empty="No request was answered in this span of time." hint="p99: one request in a hundred takes longer." />
      <MetricPanel title="Time in each stage" query="predict-phases" model={model} unit="seconds" nameOf={byPhase} empty="No picture was classified in this span of time." hint="Means. A long queue beside a short compute asks for larger batches or more machines." />
      <MetricPanel title="Time in each stage, p95" query="predict-phases-p95" model={model} unit="seconds" nameOf={byPhase} empty="No picture was classified in this span of time." />
      <MetricPanel title="Pictures computed together" query="batch-size" model={model} unit="count" nameOf={byModel} empty="No batch was computed in this span of time." />
      <MetricPanel title="Pictures that wait" query="queue-length" model={model} unit="count" nameOf={byModel} empty="No server reports its queue." />
      <MetricPanel title="Requests refused a second" query="rejected" unit="rate" nameOf={byReason} empty="No request was refused." />
      <MetricPanel title="Compute time of each version, p95" query="versions-latency" model={model} unit="seconds" nameOf={byVersion} empty="No picture was classified in this span of time." />
      <MetricPanel size="half" title="Part of each version" query="versions-share" model={model} unit="ratio" nameOf={byVersion} empty="No picture was classified in this span of time." hint="How the traffic is split between the stable version and the canary." />
      <MetricPanel size="half" title="Part of each class" query="class-shares" model={model} unit="ratio" nameOf={byClass} empty="No picture was classified in this span of time." hint="What the model tells. A shift is a change of the pictures that come, or of the model." />
      <Versions />
    </>
  );
}

/** Whether the server keeps its promises, at the span's last moment. */
function Promises(): ReactNode {
  const { view: { span } } = useView();
  const title = span.kind === 'last' ? 'Now' : 'At the end of this span';
  const requests = useMetric('requests'), latency = useMetric('latency'), queue = useMetric('queue-length');
  const now = (lines: NonNullable<typeof requests.data>['lines']) => lines.map(({ labels, values }) => ({ labels, value: values.at(-1) ?? null })).filter(({ value }) => value !== null && Number.isFinite(value)) as { labels: Labels; value: number }[];
  const rates = now(requests.data?.lines ?? []);
  const total = rates.reduce((sum, { value }) => sum + value, 0);
  const failed = rates.filter(({ labels }) => labels['status']?.startsWith('5')).reduce((sum, { value }) => sum + value, 0);
  const quantiles = new Map(now(latency.data?.lines ?? []).map(({ labels, value }) => [labels['quantile'], value]));
  const waiting = now(queue.data?.lines ?? []);
  if (requests.error) return <Panel title={title} size="wide"><Failed error={requests.error} /></Panel>;
  return (
    <Panel title={title} size="wide">
      <Tiles tiles={[
        { name: 'Requests', value: rates.length === 0 ? null : formatValue(total, 'rate') },
        { name: 'Failed by the server', value: total === 0 ? null : formatValue(failed / total, 'ratio') },
        ...['p50', 'p95', 'p99'].map((name) => ({ name, value: quantiles.has(name) ? formatValue(quantiles.get(name), 'seconds') : null })),
        { name: 'Pictures that wait', value: waiting.length === 0 ? null : formatValue(waiting.reduce((sum, { value }) => sum + value, 0), 'count') },
      ]} />
    </Panel>
  );
}

function Versions(): ReactNode {
  const { view: { model } } = useView();
  const { data, error } = useMetric('models');
  const { data: rollbacks } = useMetric('rollbacks', { model });
  const rows = (data?.lines ?? []).filter(({ labels, values }) => (model === null || labels['model'] === model) && values.at(-1) !== null);
  const taken = (rollbacks?.lines ?? []).filter(({ values }) => (values.at(-1) ?? 0) > 0);
  return (
    <Panel title="Versions" size="wide">
      {taken.map(({ labels }) => <p key={labels['model']} className="notice" role="alert">A canary of {labels['model']} was taken back by the server just now.</p>)}
      {error ? <Failed error={error} /> : !data ? <Loading /> : rows.length === 0 ? <Empty>No server reports a model now.</Empty> : (
        <div className="scroll" tabIndex={0} role="region" aria-label="Table: Versions">
          <table>
            <thead><tr><th>Model</th><th>Version</th><th>Label</th><th>Server</th><th>Computes with</th></tr></thead>
            <tbody>{rows.map(({ labels: { model: name = '', version = '', label = '', instance = '', backend = '', dtype = '' } }) => <tr key={`${name} ${version} ${instance}`}><th scope="row">{name}</th><td>{version}</td><td><span className={`badge ${label === 'stable' ? 'good' : 'plain'}`}>{label}</span></td><td>{instance}</td><td>{backend}, {dtype}</td></tr>)}</tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
