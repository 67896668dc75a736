import { type KeyboardEvent, type ReactNode, useContext, useEffect, useId, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import { ThemeContext } from '../hooks.js';
import { type Unit, formatSeconds, formatTick, formatTime, formatValue } from '../format.js';
import { type CurveData, type Values, lastPlace, lonelyPlaces, valueAt } from './curves.js';

export interface PlotMark {
  x: number;
  kind: string;
  text: string;
}

export interface PlotProps {
  title: string;
  data: CurveData;
  unit: Unit;
  /** What x counts. */
  xKind: 'time' | 'step' | 'epoch' | 'seconds';
  marks?: readonly PlotMark[];
  /** x at both ends; without it, as far as the points go. */
  range?: readonly [number, number] | null;
  /** A part was picked. */
  onZoom?: (from: number, to: number) => void;
  onReset?: () => void;
  /** Plots of one key move their cursors together. */
  syncKey: string;
  log?: boolean;
  /** Is given what draws the plot into a picture. */
  onReady?: (canvas: HTMLCanvasElement) => void;
}

const HEIGHT = 210;
/** More dots than these are a smear. */
const DOTS_LIMIT = 60;
const COLOURS = 8;
/** Beyond the colours, lines are told apart by dashes. */
const DASHES = [undefined, [6, 4], [2, 3]] as const;

/** Bytes are counted in powers of two. */
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

interface Palette {
  colours: string[];
  text: string;
  grid: string;
  mark: string;
}

function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return { colours: Array.from({ length: COLOURS }, (_, i) => of(`--series-${i + 1}`)), text: of('--muted'), grid: of('--grid'), mark: of('--mark') };
}

export function formatX(x: number, xKind: PlotProps['xKind']): string {
  if (xKind === 'time') return formatTime(x * 1000, true);
  if (xKind === 'seconds') return formatSeconds(x);
  return xKind === 'epoch' ? `epoch ${x.toLocaleString('en-US', { maximumFractionDigits: 2 })}` : `step ${Math.round(x).toLocaleString('en-US')}`;
}

/** Curves on a canvas, with a table of all their values below: at the cursor, or the last ones. */
export function Plot(props: PlotProps): ReactNode {
  const { title, data, unit, xKind, syncKey, onReset } = props;
  const holder = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const [place, setPlace] = useState<number | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const theme = useContext(ThemeContext);
  const describedBy = useId();
  // The newest callbacks, without a new chart for each of them.
  const latest = useRef(props);
  latest.current = props;
  const shape = JSON.stringify([data.lines.map(({ name, low, dots }) => [name, low !== undefined, dots === true]), unit, xKind, props.log === true]);
  const columns = useMemo(() => columnsOf(data), [data]);
  const newest = useRef(columns);
  newest.current = columns;

  useEffect(() => {
    const element = holder.current!;
    const made = new uPlot(optionsOf(latest, readPalette(), element.clientWidth, setPlace), newest.current, element);
    chart.current = made;
    latest.current.onReady?.(made.ctx.canvas);
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [shape, theme, syncKey]);

  useEffect(() => chart.current?.setData(columns), [columns]);
  const rangeKey = props.range?.join() ?? '';
  useEffect(() => chart.current?.setData(newest.current), [rangeKey, props.marks]);
  useEffect(() => {
    data.lines.forEach(({ name }, i) => {
      const show = !hidden.has(name);
      const at = columnOf(data, i);
      if (chart.current && chart.current.series[at]?.show !== show) chart.current.setSeries(at, { show });
    });
  }, [hidden, data, shape, theme]);

  const shown = place !== null && place < data.x.length ? place : lastPlace(data);
  const onKeyDown = (event: KeyboardEvent) => {
    const next = moveBy(event.key, place ?? lastPlace(data), data.x.length);
    if (event.key === 'Escape') {
      onReset?.();
      setPlace(null);
    } else if ((event.key === '+' || event.key === '=') && latest.current.onZoom && data.x.length > 4) {
      const centre = shown, reach = Math.max(2, Math.floor(data.x.length / 4));
      latest.current.onZoom(data.x[Math.max(0, centre - reach)]!, data.x[Math.min(data.x.length - 1, centre + reach)]!);
    } else if (next !== null) {
      setPlace(next);
      const left = chart.current?.valToPos(data.x[next]!, 'x') ?? 0;
      chart.current?.setCursor({ left, top: HEIGHT / 3 });
    } else return;
    event.preventDefault();
  };
  const toggle = (name: string) => setHidden((before) => (before.has(name) ? new Set([...before].filter((other) => other !== name)) : new Set([...before, name])));

  return (
    <div className="plot">
      <div ref={holder} className="canvas" role="group" tabIndex={0} aria-label={`${title}: a plot. Arrow keys move over its points, plus zooms in, Escape shows all.`} aria-describedby={describedBy} onKeyDown={onKeyDown} />
      <div className="legend" id={describedBy}>
        <span className="at">{shown === -1 ? '' : formatX(data.x[shown]!, xKind)}</span>
        {place === null ? null : marksAt(props.marks ?? [], data.x, shown).map(({ kind, text }, i) => <span key={`${i} ${text}`} className="mark">{kind}: {text}</span>)}
        <ul>
          {data.lines.map((line, i) => (
            <li key={line.name}>
              <button type="button" aria-pressed={!hidden.has(line.name)} onClick={() => toggle(line.name)} title={hidden.has(line.name) ? 'Show this line' : 'Hide this line'}>
                <i className={`swatch dash-${Math.floor(i / COLOURS) % DASHES.length}`} data-colour={(i % COLOURS) + 1} />
                <span className="name">{line.name}</span> <b>{formatValue(place === null || line.values[shown] === undefined ? valueAt(line, shown) : line.values[shown]!, unit)}</b>
                {place !== null && line.low && line.high && line.low[shown] !== line.high[shown] ? <small>{formatValue(line.low[shown], unit)} to {formatValue(line.high[shown], unit)}</small> : null}
              </button>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

function moveBy(key: string, place: number, count: number): number | null {
  const next = { ArrowLeft: place - 1, ArrowRight: place + 1, PageUp: place - 20, PageDown: place + 20, Home: 0, End: count - 1 }[key];
  return next === undefined || count === 0 ? null : Math.min(count - 1, Math.max(0, next));
}

const finite = (value: number | null | undefined): number | null | undefined => (value === undefined || Number.isFinite(value) ? value : null);

/** uPlot's columns: x, then each line with its band's two edges before it. */
function columnsOf({ x, lines }: CurveData): uPlot.AlignedData {
  const columns: Values[] = lines.flatMap(({ values, low, high }) => [...(low && high ? [high.map(finite), low.map(finite)] : []), values.map(finite)]);
  return [x as number[], ...columns] as uPlot.AlignedData;
}

function columnOf({ lines }: CurveData, line: number): number {
  return lines.slice(0, line + 1).reduce((at, { low, high }) => at + (low && high ? 3 : 1), 0);
}

function optionsOf(latest: { current: PlotProps }, { colours, text, grid, mark }: Palette, width: number, setPlace: (place: number | null) => void): uPlot.Options {
  const { data, unit, xKind, syncKey, log = false } = latest.current;
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  data.lines.forEach(({ low, high, dots }, i) => {
    const colour = colours[i % COLOURS]!;
    const dash = DASHES[Math.floor(i / COLOURS) % DASHES.length];
    if (low && high) {
      bands.push({ series: [series.length, series.length + 1], fill: `${colour}33` });
      for (let edge = 0; edge < 2; edge++) series.push({ stroke: `${colour}44`, width: 1, points: { show: false } });
    }
    series.push({ stroke: colour, width: 2, spanGaps: dots === true, ...(dash ? { dash: [...dash] } : {}), points: { size: dots ? 6 : 4, fill: colour, show: (plot, at) => dots === true && countOf(plot.data[at] as Values) <= DOTS_LIMIT, filter: (plot, at, shown) => (shown ? null : lonelyPlaces(plot.data[at] as Values)) } });
  });
  const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 }, font: '12px system-ui, sans-serif' };
  return {
    width, height: HEIGHT, series, bands,
    scales: {
      x: { time: xKind === 'time', range: (_, least, greatest) => xRange(latest.current, least, greatest) },
      y: { ...(log ? { distr: 3 as const } : { range: (_, least, greatest) => yRange(least, greatest, unit) }) },
    },
    axes: [
      { ...axis, size: 30, ...(xKind === 'time' ? { values: (_, ticks, __, ___, increment) => ticks.map((tick) => clockOf(tick, increment)) } : xKind === 'seconds' ? { values: (_, ticks) => ticks.map((tick) => formatSeconds(tick)) } : {}) },
      { ...axis, size: 62, ...(unit === 'bytes' ? { incrs: BINARY_STEPS } : {}), values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : formatTick(tick, unit))) },
    ],
    legend: { show: false },
    cursor: { sync: { key: syncKey }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
    hooks: {
      setCursor: [(plot) => setPlace(plot.cursor.idx ?? null)],
      setSelect: [(plot) => {
        const { left, width: selected } = plot.select;
        if (selected > 4) latest.current.onZoom?.(plot.posToVal(left, 'x'), plot.posToVal(left + selected, 'x'));
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }],
      draw: [(plot) => drawMarks(plot, latest.current.marks ?? [], mark)],
      ready: [(plot) => plot.over.addEventListener('dblclick', () => latest.current.onReset?.())],
    },
  };
}

const countOf = (values: Values): number => values.reduce<number>((count, value) => count + (value === null || value === undefined ? 0 : 1), 0);

/** The marks between the point at the cursor and the one before it. */
function marksAt(marks: readonly PlotMark[], x: readonly number[], place: number): PlotMark[] {
  const from = x[place - 1] ?? Number.NEGATIVE_INFINITY, to = x[place] ?? Number.NEGATIVE_INFINITY;
  return marks.filter((mark) => mark.x > from && mark.x <= to).slice(0, 3);
}

function xRange({ range }: PlotProps, least: number | null, greatest: number | null): [number, number] {
  if (range) return [range[0], range[1]];
  if (least === null || greatest === null) return [0, 1];
  return least === greatest ? [least - 1, greatest + 1] : [least, greatest];
}

function yRange(least: number | null, greatest: number | null, unit: Unit): [number, number] {
  if (least === null || greatest === null) return [0, 1];
  const fromZero = !['number', 'ratio', 'celsius'].includes(unit);
  const low = fromZero ? Math.min(0, least) : least;
  const room = (greatest - low) * 0.06 || Math.abs(greatest) * 0.1 || 1;
  const top = unit === 'ratio' && greatest <= 1 ? Math.min(1, greatest + room) : greatest + room;
  const bottom = unit === 'ratio' && least >= 0 ? Math.max(0, low - room) : low - room;
  return [fromZero && low === 0 ? 0 : bottom, top];
}

/** Hours and minutes; with seconds where ticks are closer, with the day where they are far apart. */
function clockOf(seconds: number, increment: number): string {
  const at = new Date(seconds * 1000);
  if (increment >= 86_400) return at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
  return at.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', ...(increment < 60 ? { second: '2-digit' } : {}) });
}

function drawMarks(plot: uPlot, marks: readonly PlotMark[], colour: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.textAlign = 'left';
  ctx.textBaseline = 'alphabetic';
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  for (const [i, { x, kind }] of marks.entries()) {
    const at = plot.valToPos(x, 'x', true);
    if (at < bbox.left || at > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bbox.top + bbox.height);
    ctx.stroke();
    if (marks.length <= 12) ctx.fillText(kind, Math.min(at + 4 * devicePixelRatio, bbox.left + bbox.width - ctx.measureText(kind).width), bbox.top + (12 + (i % 3) * 13) * devicePixelRatio);
  }
  ctx.restore();
}
