import { useQueries, useQuery } from '@tanstack/react-query';
import { type ReactNode, useMemo, useState } from 'react';
import { type Curve, type RunDetail, experimentListSchema, runDetailSchema } from '../../contract.js';
import { ask } from '../api.js';
import { formatValue } from '../format.js';
import { curveQuery, useRuns, useSession, useView } from '../hooks.js';
import { type CurveData, type CurveLine, alignLines, smooth } from '../parts/curves.js';
import { Empty, Failed, Loading, Panel, PlotPanel } from '../parts/panel.js';
import { shortRun } from '../parts/run-state.js';
import { type Axis, COMPARED_LIMIT } from '../view.js';

const POINTS = 400;

export function Compare(): ReactNode {
  const { hasRuns } = useSession();
  if (!hasRuns) return <Panel title="Compare" size="wide"><Empty>No run directories are watched: start the dashboard with --runs FOLDER.</Empty></Panel>;
  return (
    <>
      <Chooser />
      <Curves />
      <Experiments />
    </>
  );
}

function Chooser(): ReactNode {
  const { view: { runs: chosen, axis }, go } = useView();
  const [filter, setFilter] = useState('');
  const { data, error } = useRuns(filter);
  const toggle = (id: string) => go({ runs: chosen.includes(id) ? chosen.filter((other) => other !== id) : [...chosen, id].slice(0, COMPARED_LIMIT), zoom: null });
  const offered = [...chosen, ...(data?.runs ?? []).map(({ id }) => id).filter((id) => !chosen.includes(id))];
  return (
    <Panel title="Runs to compare" size="wide" status={`${chosen.length} of at most ${COMPARED_LIMIT}`} actions={<input type="search" placeholder="Part of a name" aria-label="Find runs by a part of their name" value={filter} onChange={({ target }) => setFilter(target.value)} />}>
      {error ? <Failed error={error} /> : !data ? <Loading /> : offered.length === 0 ? <Empty>No run has been started here yet.</Empty> : (
        <fieldset className="choices" tabIndex={0}><legend className="visually-hidden">Runs</legend>{offered.map((id) => <label key={id}><input type="checkbox" checked={chosen.includes(id)} disabled={!chosen.includes(id) && chosen.length >= COMPARED_LIMIT} onChange={() => toggle(id)} /> {id}</label>)}</fieldset>
      )}
      <fieldset className="axis"><legend>Over</legend>{(['step', 'epoch', 'time'] as const).map((name) => <label key={name}><input type="radio" name="axis" checked={axis === name} onChange={() => go({ axis: name, zoom: null })} /> {AXES[name]}</label>)}</fieldset>
    </Panel>
  );
}

const AXES: Record<Axis, string> = { step: 'steps', epoch: 'epochs', time: 'time since the start' };

function Curves(): ReactNode {
  const { view: { runs, axis, zoom }, go } = useView();
  const [smoothing, setSmoothing] = useState(1);
  const details = useQueries({ queries: runs.map((id) => ({ queryKey: ['run', id, 'detail'], queryFn: ({ signal }: { signal: AbortSignal }) => ask(`runs/${encodeURIComponent(id)}`, runDetailSchema, {}, signal) })) });
  const curves = useQueries({ queries: runs.map((id, i) => curveQuery(id, stepsOf(zoom, axis, details[i]?.data), POINTS)) });
  const stamp = [...curves, ...details].map(({ dataUpdatedAt }) => dataUpdatedAt).join();
  const ready = useMemo(() => runs.flatMap((id, i) => (curves[i]?.data && details[i]?.data ? [{ id, curve: curves[i].data, detail: details[i].data }] : [])), [runs.join(), stamp]);
  const data = useMemo(() => compared(ready, axis, smoothing, zoom), [ready, axis, smoothing, zoom?.join()]);
  if (runs.length === 0) return <Panel title="Loss" size="wide"><Empty>Choose runs above: their curves are drawn together here.</Empty></Panel>;
  const error = [...curves, ...details].find((query) => query.error)?.error ?? null;
  const waiting = ready.length < runs.length && error === null;
  const common = { error, size: 'half' as const, xKind: axis === 'time' ? ('seconds' as const) : axis, syncKey: 'compare', range: zoom, onZoom: (from: number, to: number) => go({ zoom: [Math.max(0, from), to] }), onReset: () => go({ zoom: null }), empty: 'None of these runs has done a step.' };
  return (
    <>
      <p className="picker"><label>Smoothing <input type="range" min={1} max={50} value={smoothing} onChange={({ target }) => setSmoothing(Number(target.value))} aria-valuetext={smoothing === 1 ? 'off' : `over ${smoothing} points`} /></label></p>
      <PlotPanel title="Training loss" unit="number" data={waiting ? undefined : data.loss} {...common} />
      <PlotPanel title="Validation accuracy" unit="ratio" data={waiting ? undefined : data.accuracy} {...common} empty="None of these runs has finished an epoch." />
      <Differences details={ready.map(({ detail }) => detail)} />
    </>
  );
}

const stepsPerEpoch = ({ summary: { stepCount }, config, epochs }: RunDetail): number => (stepCount === null ? (epochs[0]?.step ?? 1) : stepCount / Math.max(1, Number(config['epochs'] ?? 1)));

/** The part of a run's steps that the zoom shows; over time the curve is not asked for finer. */
function stepsOf(zoom: readonly [number, number] | null, axis: Axis, detail: RunDetail | undefined): readonly [number, number] | null {
  if (zoom === null || axis === 'time') return null;
  if (axis === 'step') return zoom;
  return detail === undefined ? null : [zoom[0] * stepsPerEpoch(detail), zoom[1] * stepsPerEpoch(detail)];
}

function compared(ready: readonly { id: string; curve: Curve; detail: RunDetail }[], axis: Axis, smoothing: number, zoom: readonly [number, number] | null): { loss: CurveData; accuracy: CurveData } {
  const place = (detail: RunDetail, step: number, atMs: number): number => (axis === 'step' ? step : axis === 'epoch' ? step / stepsPerEpoch(detail) : (atMs - (detail.summary.startedAtMs ?? atMs)) / 1000);
  const inZoom = (part: { x: number[]; line: CurveLine }) => part.x.some((x) => zoom === null || (x >= zoom[0] && x <= zoom[1]));
  const loss = ready.map(({ id, curve, detail }) => ({ x: curve.steps.map((step, i) => place(detail, step, curve.atMs[i]!)), line: { name: shortRun(id), values: smooth(curve.loss, smoothing), ...(curve.stepsPerPoint > 1 ? { low: curve.low, high: curve.high } : {}) } }));
  const accuracy = ready.map(({ id, detail }) => ({ x: detail.epochs.map(({ step, atMs }) => place(detail, step, atMs)), line: { name: shortRun(id), values: detail.epochs.map(({ validAccuracy }) => validAccuracy), dots: true } }));
  return { loss: alignLines(loss.filter(inZoom)), accuracy: alignLines(accuracy.filter(inZoom)) };
}

/** Settings that are not the same in all of the runs. */
function Differences({ details }: { details: readonly RunDetail[] }): ReactNode {
  const names = [...new Set(details.flatMap(({ config }) => Object.keys(config)))].filter((name) => new Set(details.map(({ config }) => config[name])).size > 1);
  const results: [string, (detail: RunDetail) => string][] = [
    ['best validation accuracy', ({ epochs }) => (epochs.length === 0 ? '–' : formatValue(Math.max(...epochs.map(({ validAccuracy }) => validAccuracy)), 'ratio'))],
    ['images a second', ({ epochs }) => (epochs.length === 0 ? '–' : formatValue(epochs.at(-1)!.picturesPerSecond, 'count'))],
  ];
  return (
    <Panel title="What differs" size="wide">
      {details.length < 2 ? <Empty>Choose a second run: what differs in their settings stands here.</Empty> : (
        <div className="scroll" tabIndex={0} role="region" aria-label="Table: What differs">
          <table>
            <thead><tr><th>Setting</th>{details.map(({ summary: { id } }) => <th key={id} scope="col">{shortRun(id)}</th>)}</tr></thead>
            <tbody>
              {results.map(([name, of]) => <tr key={name}><th scope="row">{name}</th>{details.map((detail) => <td key={detail.summary.id}>{of(detail)}</td>)}</tr>)}
              {names.map((name) => <tr key={name}><th scope="row">{name}</th>{details.map(({ summary: { id }, config }) => <td key={id}>{config[name] ?? '–'}</td>)}</tr>)}
            </tbody>
          </table>
          {names.length === 0 ? <p>Their settings are all the same.</p> : null}
        </div>
      )}
    </Panel>
  );
}

/** What `chameleon experiments` found, beside the article's table. */
function Experiments(): ReactNode {
  const { data, error } = useQuery({ queryKey: ['experiments'], queryFn: ({ signal }) => ask('experiments', experimentListSchema, {}, signal), refetchInterval: 30_000 });
  if (error) return <Panel title="Recipes" size="wide"><Failed error={error} /></Panel>;
  if (!data) return <Panel title="Recipes" size="wide"><Loading /></Panel>;
  if (data.experiments.length === 0) return <Panel title="Recipes" size="wide"><Empty>No recipes have been compared here yet. `chameleon experiments --data FOLDER` does, with several seeds.</Empty></Panel>;
  return data.experiments.map(({ title, dataset, architecture, epochs, command, rows }) => (
    <Panel key={`${title} ${command}`} title={title} size="wide" hint={`${architecture}, ${epochs} epochs, ${dataset}. The article's levels are of another data set: compare the order, not the level.`}>
      <div className="scroll" tabIndex={0} role="region" aria-label={`Table: ${title}`}>
        <table>
          <thead><tr><th>Recipe</th><th className="number">Validation accuracy</th><th>95 % interval</th><th className="number">Seeds</th><th className="number">In the article</th></tr></thead>
          <tbody>{rows.map(({ recipe, mean, low, high, count, article }) => <tr key={recipe}><th scope="row">{recipe}</th><td className="number">{formatValue(mean, 'ratio')}</td><td>{count === 1 ? 'one seed has none' : `${formatValue(low, 'ratio')} to ${formatValue(high, 'ratio')}`}</td><td className="number">{count}</td><td className="number">{article === null ? '–' : formatValue(article, 'ratio')}</td></tr>)}</tbody>
        </table>
      </div>
    </Panel>
  ));
}
