import { type ReactNode, useState } from 'react';
import type { QueryAnswer, RunSummary, TargetState } from '../../contract.js';
import { formatAgo, formatValue } from '../format.js';
import { useMetric, useOverview, useRuns, useSession, useView } from '../hooks.js';
import { MetricPanel } from '../parts/metric-panel.js';
import { Empty, Failed, Loading, Panel } from '../parts/panel.js';
import { RunState } from '../parts/run-state.js';

export function Overview(): ReactNode {
  const { hasRuns } = useSession();
  return (
    <>
      <Alerts />
      <Targets />
      <Servers />
      {hasRuns ? <Runs /> : <RunsByMetrics />}
      <MetricPanel size="half" title="Images a second" query="images-per-second" unit="images" nameOf={({ worker = '' }) => (worker === 'all' ? 'all runs' : worker)} empty="No run reports images in this span of time." />
      <MetricPanel size="half" title="Requests a second" query="requests-by-server" unit="rate" nameOf={({ instance = '' }) => instance} empty="No server reports requests in this span of time." />
    </>
  );
}

function Alerts(): ReactNode {
  const { data, error } = useOverview();
  if (error) return <Panel title="Alerts" size="wide"><Failed error={error} /></Panel>;
  if (!data) return <Panel title="Alerts" size="wide"><Loading /></Panel>;
  const count = data.alerts.length + data.problems.length;
  return (
    <Panel title="Alerts" size="wide" status={count === 0 ? 'none' : `${count} now`}>
      {count === 0 ? <p className="allwell">Nothing is wrong that the rules know of.</p> : (
        <ul className="alerts">
          {data.problems.map((problem) => <li key={problem} className="warning"><b>Dashboard</b> {problem}</li>)}
          {data.alerts.map(({ name, severity, summary, labels }) => <li key={`${name} ${JSON.stringify(labels)}`} className={severity}><b>{name.replace(/^Chameleon/, '').replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ')}</b> {summary}</li>)}
        </ul>
      )}
    </Panel>
  );
}

const HEALTH: Record<TargetState['health'], [string, string]> = { up: ['good', 'up'], down: ['bad', 'gone'], unknown: ['plain', 'not asked yet'] };

function Targets(): ReactNode {
  const { data, error } = useOverview();
  const { source } = useSession();
  const up = data?.targets.filter(({ health }) => health === 'up').length ?? 0;
  return (
    <Panel title="Processes" size="half" status={data ? `${up} of ${data.targets.length} up` : undefined}>
      {error ? <Failed error={error} /> : !data ? <Loading /> : data.targets.length === 0 ? (
        <Empty>{source.kind === 'prometheus' ? 'This Prometheus has no target whose job begins with chameleon.' : 'Nothing is scraped. Start the dashboard with --target HOST:PORT, or --file.'}</Empty>
      ) : (
        <div className="scroll" tabIndex={0} role="region" aria-label="Table: Processes">
          <table>
            <thead><tr><th>Process</th><th>State</th><th>Last answer</th></tr></thead>
            <tbody>
              {data.targets.map(({ job, instance, url, health, error: reason, answeredAtMs }) => (
                <tr key={`${job} ${url}`}>
                  <th scope="row">{instance}<small>{job}</small></th>
                  <td><span className={`badge ${HEALTH[health][0]}`}>{HEALTH[health][1]}</span>{reason === '' ? null : <small>{reason}</small>}</td>
                  <td>{answeredAtMs !== null ? formatAgo(answeredAtMs, data.nowMs) : source.kind === 'embedded' ? 'never' : 'unknown'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

const PAGE_SIZE = 50;

/** The runs' directories, fifty at a time: a thousand runs are no more to draw than these. */
function Runs(): ReactNode {
  const [filter, setFilter] = useState('');
  const [offset, setOffset] = useState(0);
  const { data, error } = useRuns(filter, offset);
  const { hrefOf, go } = useView();
  const follow = useFollow();
  const search = <input type="search" placeholder="Part of a name" aria-label="Find runs by a part of their name" value={filter} onChange={({ target }) => (setFilter(target.value), setOffset(0))} />;
  return (
    <Panel title="Runs" size="wide" actions={search} status={data ? `${data.total} in all` : undefined}>
      {error ? <Failed error={error} /> : !data ? <Loading /> : data.runs.length === 0 ? <Empty>{filter === '' ? 'No run has been started here yet.' : 'No run has this in its name.'}</Empty> : (
        <div className="scroll" tabIndex={0} role="region" aria-label="Table: Runs">
          <table>
            <thead><tr><th>Run</th><th>State</th><th>Steps</th><th className="number">Best validation accuracy</th><th>Last word</th></tr></thead>
            <tbody>
              {data.runs.map((run) => (
                <tr key={run.id}>
                  <th scope="row"><a href={hrefOf({ page: 'run', run: run.id, zoom: null })} onClick={follow({ page: 'run', run: run.id, zoom: null })}>{run.id}</a><small>{[run.architecture, run.data.split('/').at(-1)].filter(Boolean).join(' on ')}</small></th>
                  <td><RunState state={run.state} /></td>
                  <td><Progress run={run} /></td>
                  <td className="number">{run.bestAccuracy === null ? '–' : formatValue(run.bestAccuracy, 'ratio')}</td>
                  <td>{formatAgo(run.changedAtMs, Date.now())}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {data && data.total > PAGE_SIZE ? (
        <p className="pager">
          <button type="button" disabled={offset === 0} onClick={() => setOffset(offset - PAGE_SIZE)}>Newer</button>
          <span>{offset + 1} to {Math.min(offset + PAGE_SIZE, data.total)} of {data.total}</span>
          <button type="button" disabled={offset + PAGE_SIZE >= data.total} onClick={() => setOffset(offset + PAGE_SIZE)}>Older</button>
        </p>
      ) : null}
      {data && data.runs.length > 1 ? <p><button type="button" onClick={() => go({ page: 'compare', runs: data.runs.slice(0, 5).map(({ id }) => id), zoom: null })}>Compare the newest {Math.min(5, data.runs.length)}</button></p> : null}
    </Panel>
  );
}

function Progress({ run: { step, stepCount } }: { run: RunSummary }): ReactNode {
  if (stepCount === null) return step === 0 ? '–' : step.toLocaleString('en-US');
  return <><progress max={stepCount} value={Math.min(step, stepCount)} aria-label={`${step} of ${stepCount} steps`} /> <small className="inline">{step.toLocaleString('en-US')} of {stepCount.toLocaleString('en-US')}</small></>;
}

/** Where no directories are watched, what metrics know of runs. */
function RunsByMetrics(): ReactNode {
  const { data, error } = useMetric('runs');
  const { hrefOf } = useView();
  const follow = useFollow();
  return (
    <Panel title="Runs" size="wide" status={data ? `${data.lines.length} in this span of time` : undefined}>
      {error ? <Failed error={error} /> : !data ? <Loading /> : data.lines.length === 0 ? <Empty>No run reports metrics in this span of time.</Empty> : (
        <ul className="plain">{data.lines.map(({ labels: { run = '' }, values }) => <li key={run}><a href={hrefOf({ page: 'run', run })} onClick={follow({ page: 'run', run })}>{run}</a> <small className="inline">step {formatValue(last(values), 'count')}</small></li>)}</ul>
      )}
    </Panel>
  );
}

const last = (values: QueryAnswer['lines'][number]['values']): number | null => values.findLast((value) => value !== null) ?? null;

/** The models that are loaded, on which server, under which label. */
function Servers(): ReactNode {
  const { data, error } = useMetric('models');
  const { hrefOf } = useView();
  const follow = useFollow();
  const loaded = data?.lines.filter(({ values }) => values.at(-1) !== null) ?? [];
  return (
    <Panel title="Models served" size="half" status={data ? `${loaded.length} loaded` : undefined}>
      {error ? <Failed error={error} /> : !data ? <Loading /> : loaded.length === 0 ? <Empty>No server reports a model now.</Empty> : (
        <div className="scroll" tabIndex={0} role="region" aria-label="Table: Models served">
          <table>
            <thead><tr><th>Model</th><th>Version</th><th>Label</th><th>Server</th><th>Computes with</th></tr></thead>
            <tbody>
              {loaded.map(({ labels: { model = '', version = '', label = '', instance = '', backend = '', dtype = '', architecture = '' } }) => (
                <tr key={`${model} ${version} ${instance}`}>
                  <th scope="row"><a href={hrefOf({ page: 'serving', model })} onClick={follow({ page: 'serving', model })}>{model}</a><small>{architecture}</small></th>
                  <td>{version}</td><td><span className={`badge ${label === 'stable' ? 'good' : 'plain'}`}>{label}</span></td><td>{instance}</td><td>{backend}, {dtype}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

/** A link that changes the view; with a modifier key it opens as any link does. */
export function useFollow() {
  const { go } = useView();
  return (change: Parameters<typeof go>[0]) => (event: { metaKey: boolean; ctrlKey: boolean; shiftKey: boolean; preventDefault: () => void }) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(change);
    scrollTo(0, 0);
  };
}
