import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useMemo } from 'react';
import type { Curve, RunDetail } from '../../contract.js';
import { formatAgo, formatSeconds, formatValue } from '../format.js';
import { curveQuery, useMetric, useRun, useSession, useView } from '../hooks.js';
import { type CurveData, alignLines } from '../parts/curves.js';
import { describeLate, findLateWorker } from '../parts/late-worker.js';
import { Commands, LiveSettingsPanel } from '../parts/live-settings.js';
import { MetricPanel } from '../parts/metric-panel.js';
import { Failed, Panel, PlotPanel } from '../parts/panel.js';
import type { PlotMark } from '../parts/plot.js';
import { RunPicker, useChosenRun } from '../parts/run-picker.js';
import { RunState } from '../parts/run-state.js';
import { Tiles } from '../parts/tiles.js';

export function Run(): ReactNode {
  const run = useChosenRun();
  const { data: detail, error } = useRun(run);
  const marks = useMemo(() => (detail?.marks ?? []).map(({ atMs, kind, text }): PlotMark => ({ x: atMs / 1000, kind, text })), [detail?.marks]);
  if (run === null) return <Panel title="Run" size="wide"><p>No run is known here: none has been started, or no process that is scraped reports one.</p></Panel>;
  return (
    <>
      <RunPicker run={run} />
      {error ? <Panel title="Record" size="wide"><Failed error={error} /></Panel> : null}
      <Figures run={run} detail={detail} />
      {detail && detail.summary.state === 'failed' ? <p className="notice" role="alert">{detail.marks.findLast(({ kind }) => kind === 'fault')?.text}</p> : null}
      {detail && detail.brokenLines > 0 ? <p className="notice">{detail.brokenLines} lines of the run's record can't be read and are passed over.</p> : null}
      {detail?.summary.state === 'running' ? <LiveSettingsPanel run={run} /> : null}
      <Learning run={run} detail={detail} marks={marks} />
      <MetricPanel title="Learning rate of each group" query="learning-rates" run={run} unit="learning-rate" nameOf={nameOf('group')} marks={marks} empty="The run reports no learning rate in this span of time." />
      <MetricPanel title="Images a second" query="images-per-second" run={run} unit="images" nameOf={({ worker = '' }) => (worker === 'all' ? 'all workers' : worker)} empty="The run reports no images in this span of time." />
      <MetricPanel title="Time of a step by phase" query="step-phases" run={run} unit="seconds" nameOf={nameOf('phase')} empty="The run reports no steps in this span of time." hint="Means over the workers. A worker that is ahead waits for the others in exchange." />
      <MetricPanel title="Part of a step that computes" query="compute-share" run={run} unit="ratio" nameOf={() => 'forward, backward and optimizer'} empty="The run reports no steps in this span of time." hint="What is left goes to reading data and to the exchange between machines: the efficiency of scaling." />
      <MetricPanel title="Workers taking part" query="world-size" run={run} unit="count" nameOf={() => 'workers'} marks={marks} empty="The run reports no workers in this span of time." />
      <MetricPanel title="Generation" query="generation" run={run} unit="count" nameOf={() => 'generation'} empty="The run reports no generation in this span of time." hint="It grows each time that a worker joins or leaves." />
      <MetricPanel title="Since the last checkpoint" query="checkpoint-age" run={run} unit="seconds" nameOf={() => 'age'} empty="The run reports no checkpoint in this span of time." />
      <MetricPanel title="Since each worker's last word" query="heartbeat-age" run={run} unit="seconds" nameOf={nameOf('worker')} empty="No worker reports in this span of time." />
      <MetricPanel title="Memory of each worker" query="worker-memory" unit="bytes" nameOf={nameOf('worker')} empty="No worker reports its memory." />
      <MetricPanel title="Use of each GPU" query="gpu-utilization" unit="ratio" nameOf={gpuName} empty="No worker reports a GPU." onlyWhereReported />
      <MetricPanel title="Memory of each GPU" query="gpu-memory" unit="bytes" nameOf={gpuName} empty="No worker reports a GPU." onlyWhereReported />
      <MetricPanel title="Temperature of each GPU" query="gpu-temperature" unit="celsius" nameOf={gpuName} empty="No worker reports a GPU." onlyWhereReported />
      {detail ? <History detail={detail} /> : null}
    </>
  );
}

type Labels = Readonly<Record<string, string>>;
const NAMES: Record<string, (labels: Labels) => string> = {};
/** The same function for the same label, so that a plot isn't made anew. */
const nameOf = (label: string): ((labels: Labels) => string) => (NAMES[label] ??= (labels) => labels[label] ?? 'all');
const gpuName = ({ worker = '', gpu = '' }: Labels): string => `${worker} GPU ${gpu}`;

const lastOf = (answer: ReturnType<typeof useMetric>['data'], line = 0): number | null => answer?.lines[line]?.values.findLast((value) => value !== null) ?? null;

function Figures({ run, detail }: { run: string; detail: RunDetail | undefined }): ReactNode {
  const step = useMetric('step', { run }).data, epoch = useMetric('epoch', { run }).data, speed = useMetric('images-per-second', { run }).data;
  const workers = useMetric('world-size', { run }).data, accuracy = useMetric('accuracy', { run }).data, phases = useMetric('step-phases-by-worker', { run }).data;
  const late = phases ? findLateWorker(phases) : null;
  const summary = detail?.summary;
  const steps = summary?.step ?? lastOf(step);
  const all = speed?.lines.findIndex(({ labels }) => labels['worker'] === 'all') ?? -1;
  const best = detail && detail.epochs.length > 0 ? Math.max(...detail.epochs.map(({ validAccuracy }) => validAccuracy)) : lastOf(accuracy, accuracy?.lines.findIndex(({ labels }) => labels['split'] === 'valid') ?? 0);
  const lastEpoch = lastOf(epoch) ?? detail?.epochs.at(-1)?.epoch ?? null;
  return (
    <Panel title="Now" size="wide" status={summary ? <RunState state={summary.state} /> : undefined} actions={summary?.state === 'running' ? <Commands run={run} /> : null}>
      <Tiles tiles={[
        { name: 'Step', value: steps === null ? null : formatValue(steps, 'count'), ...(summary?.stepCount ? { note: `of ${formatValue(summary.stepCount, 'count')}` } : {}) },
        { name: 'Epoch', value: lastEpoch === null ? null : formatValue(Math.floor(lastEpoch) + 1, 'count') },
        { name: 'Best validation accuracy', value: best === null || !Number.isFinite(best) ? null : formatValue(best, 'ratio') },
        { name: 'Speed', value: all === -1 || lastOf(speed, all) === null ? (detail?.epochs.at(-1) ? formatValue(detail.epochs.at(-1)!.picturesPerSecond, 'images') : null) : formatValue(lastOf(speed, all), 'images') },
        { name: 'Time to finish', value: detail ? timeLeft(detail) : null },
        { name: 'Workers', value: lastOf(workers) === null ? null : formatValue(lastOf(workers), 'count') },
        { name: 'Last checkpoint', value: detail?.checkpointAtMs ? formatAgo(detail.checkpointAtMs, Date.now()) : null },
      ]} />
      {late ? <p className="notice">{describeLate(late)}</p> : null}
    </Panel>
  );
}

/** By the speed since the start; null where it isn't running. */
function timeLeft({ summary: { state, step, stepCount, startedAtMs, changedAtMs } }: RunDetail): string | null {
  if (state !== 'running' || stepCount === null || startedAtMs === null || step === 0) return null;
  return formatSeconds(Math.max(0, ((changedAtMs - startedAtMs) / 1000 / step) * (stepCount - step)));
}

/** Loss and accuracy: out of the run's record over its steps, where there is one; else out of metrics over time. */
function Learning({ run, detail, marks }: { run: string; detail: RunDetail | undefined; marks: readonly PlotMark[] }): ReactNode {
  const { hasRuns } = useSession();
  const { view: { zoom }, go } = useView();
  const { data: curve, error } = useQuery({ ...curveQuery(run, zoom), enabled: hasRuns && detail !== undefined });
  const data = useMemo(() => (curve && detail ? learningCurves(curve, detail, zoom) : undefined), [curve, detail, zoom]);
  if (!hasRuns || (detail === undefined && !data)) {
    return (
      <>
        <MetricPanel size="half" title="Loss" query="loss" run={run} unit="number" nameOf={nameOf('split')} marks={marks} empty="The run reports no loss in this span of time." />
        <MetricPanel size="half" title="Accuracy" query="accuracy" run={run} unit="ratio" nameOf={nameOf('split')} marks={marks} empty="The run reports no accuracy in this span of time." />
      </>
    );
  }
  const stepMarks = detail?.marks.map(({ step, kind, text }): PlotMark => ({ x: step, kind, text })) ?? [];
  const common = { error, size: 'half' as const, xKind: 'step' as const, syncKey: 'steps', marks: stepMarks, range: zoom, onZoom: (from: number, to: number) => go({ zoom: [Math.max(0, Math.floor(from)), Math.ceil(to)] }), onReset: () => go({ zoom: null }) };
  const hint = curve && curve.stepsPerPoint > 1 ? `Each point is the mean of ${curve.stepsPerPoint} steps, the band their least and greatest. Pick a part to see it finer.` : 'Pick a part to see it larger; Escape shows all.';
  return (
    <>
      <PlotPanel title="Loss" unit="number" data={data?.loss} empty="No step has been done yet." hint={curve && curve.readShare < 1 ? `The record is being read: ${formatValue(curve.readShare, 'ratio')}.` : hint} {...common} />
      <PlotPanel title="Accuracy" unit="ratio" data={data?.accuracy} empty="No step has been done yet." hint="Validation at the end of each epoch; training as the mean of the steps of a point." {...common} />
    </>
  );
}

function learningCurves({ steps, loss, low, high, accuracy, stepsPerPoint }: Curve, { epochs }: RunDetail, zoom: readonly [number, number] | null): { loss: CurveData; accuracy: CurveData } {
  if (steps.length === 0) return { loss: { x: [], lines: [] }, accuracy: { x: [], lines: [] } };
  const shown = epochs.filter(({ step }) => zoom === null || (step >= zoom[0] && step <= zoom[1]));
  const valid = (value: (row: RunDetail['epochs'][number]) => number | null) => ({ x: shown.map(({ step }) => step), line: { name: 'validation', values: shown.map(value), dots: true } });
  const band = stepsPerPoint > 1 ? { low, high } : {};
  return {
    loss: alignLines([{ x: steps, line: { name: 'training', values: loss, ...band } }, ...(shown.length > 0 ? [valid(({ validLoss }) => validLoss)] : [])]),
    accuracy: alignLines([{ x: steps, line: { name: 'training', values: accuracy } }, ...(shown.length > 0 ? [valid(({ validAccuracy }) => validAccuracy)] : [])]),
  };
}

function History({ detail: { marks, config, machine, trainCount, validCount, classes, skippedCount } }: { detail: RunDetail }): ReactNode {
  return (
    <Panel title="Record" size="wide">
      <p>{trainCount.toLocaleString('en-US')} pictures to train with and {validCount.toLocaleString('en-US')} to judge by, in {classes.length} classes{skippedCount > 0 ? `; ${skippedCount} were left out` : ''}.</p>
      <details><summary>What happened ({marks.length})</summary><ol className="plain">{marks.map(({ atMs, step, kind, text }, i) => <li key={`${atMs} ${i}`}><span className="badge plain">{kind}</span> step {step.toLocaleString('en-US')}: {text} <small className="inline">{new Date(atMs).toLocaleString('en-GB')}</small></li>)}</ol></details>
      <details><summary>Configuration</summary><Pairs pairs={config} /></details>
      <details><summary>Machine</summary><Pairs pairs={machine} /></details>
    </Panel>
  );
}

const Pairs = ({ pairs }: { pairs: Readonly<Record<string, string>> }): ReactNode => <dl className="pairs">{Object.entries(pairs).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
