import { stripVTControlCharacters } from 'node:util';
import { SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import colors from 'picocolors';
import { type RunEvent, describeChange } from '@chameleon/trainer';

/** Results go to stdout, progress and remarks to stderr: `--json` in a pipe stays clean. */
export const print = (line: string): void => void process.stdout.write(`${line}\n`);
export const remark = (line: string): void => void process.stderr.write(`${line}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value));

/** A terminal's width in characters; 80 where nobody knows. */
const columnsOf = (stream: NodeJS.WriteStream): number => stream.columns || Number(process.env['COLUMNS']) || 80;

/** Colours for a stream that a person looks at; none in a file or a pipe, or where NO_COLOR says so. */
export const colorsOf = (stream: NodeJS.WriteStream) => colors.createColors(stream.isTTY === true && stream.hasColors());

/** Seconds as 0:07 or 1:02:09. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return `${hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}` : minutes}:${String(rest).padStart(2, '0')}`;
}

const BAR_COLUMNS = 30;

/** A bar on a terminal that is wide enough for one; nothing elsewhere. `text` says what happens, before the bar. */
export class Progress {
  #bar: SingleBar | null = null;
  #shown = '';

  constructor(private readonly enabled = process.stderr.isTTY) {}

  update(text: string, done: number, total: number, suffix = ''): void {
    if (!this.enabled) return;
    const room = columnsOf(process.stderr) - text.length - suffix.length - 16;
    if (room < 5) {
      this.#narrow(text, done, total);
      return;
    }
    this.#bar ??= new SingleBar({ format: '{text} {bar} {value}/{total} {suffix}', barCompleteChar: '█', barIncompleteChar: '░', hideCursor: true, stream: process.stderr, clearOnComplete: true, linewrap: false, stopOnComplete: false, barsize: Math.min(BAR_COLUMNS, room) });
    if (this.#shown !== text) {
      this.#bar.start(total, done, { text, suffix });
      this.#shown = text;
    }
    (this.#bar as unknown as { options: { barsize: number } }).options.barsize = Math.min(BAR_COLUMNS, room);
    this.#bar.setTotal(total);
    this.#bar.update(done, { text, suffix });
  }

  /** Takes the bar away, so that a line can be printed. */
  clear(): void {
    this.#bar?.stop();
    this.#bar = null;
    if (this.#shown !== '' && this.enabled) process.stderr.write('\r\x1b[K');
    this.#shown = '';
  }

  #narrow(text: string, done: number, total: number): void {
    this.#shown = text;
    process.stderr.write(`\r\x1b[K${text} ${done}/${total}`.slice(0, columnsOf(process.stderr) + 4));
  }
}

/** A table for a terminal, the first row its header; on one that is too narrow for it, each row in lines of its own. */
export function table(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const { isTTY } = process.stdout;
  const style = colorsOf(process.stdout).isColorSupported ? { head: ['bold'], border: ['dim'] } : { head: [], border: [] };
  const drawn = new Table({ head: [...head], style, chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' } });
  drawn.push(...body.map((row) => [...row]));
  const text = drawn.toString();
  const width = stripVTControlCharacters(text).indexOf('\n');
  return isTTY && width > columnsOf(process.stdout) ? body.map((row) => inLines(head, row)).join('\n') : text;
}

const inLines = (head: readonly string[], row: readonly string[]): string => row.flatMap((cell, i) => (cell === '' ? [] : [`${i === 0 ? '' : '  '}${head[i] ?? ''} ${cell}`])).join('\n');

const EPOCH_LINE_COLUMNS = 80;

const share = (value: number): string => (Number.isFinite(value) ? value.toFixed(4) : '–');

/** Tells a run as it goes on: a bar for the steps, a line an epoch. */
export function runNarrator(epochCount: number): (event: RunEvent) => void {
  const progress = new Progress();
  let stepCount = 0, began = 0, stepsAtBegin = 0;
  return (event) => {
    switch (event.type) {
      case 'start':
        stepCount = event.stepCount;
        remark(`${event.trainCount} pictures to train with, ${event.validCount} to judge by, ${event.classes.length} classes: ${shorten(event.classes.join(', '))}`);
        return;
      case 'resume':
        remark(`going on after step ${event.step}`);
        return;
      case 'step':
        if (began === 0) [began, stepsAtBegin] = [performance.now(), event.step - 1];
        progress.update(`epoch ${event.epoch + 1}/${epochCount}`, event.step, Math.max(stepCount, event.step), stepSuffix(event, stepCount, (performance.now() - began) / (event.step - stepsAtBegin) / 1000));
        return;
      case 'epoch':
        progress.clear();
        print(epochLine(event, epochCount));
        return;
      case 'skip':
        progress.clear();
        remark(`left out ${event.path}: ${event.reason}`);
        return;
      case 'finish':
        progress.clear();
        return;
      case 'generation':
        progress.clear();
        remark(`generation ${event.generation}: ${event.workers.length} ${event.workers.length === 1 ? 'worker' : 'workers'} from step ${event.step} on (${event.reason})`);
        return;
      case 'change':
        progress.clear();
        remark(`after step ${event.step}: ${describeChange(event.change)}`);
        return;
      case 'fault':
      case 'checkpoint':
      case 'phase':
      case 'command':
        return;
      default:
        event satisfies never;
    }
  };
}

/** An epoch in a line; where the terminal is narrow, its validation accuracy and its loss alone. */
function epochLine({ epoch, trainLoss, trainAccuracy, validAccuracy, picturesPerSecond }: Extract<RunEvent, { type: 'epoch' }>, epochCount: number): string {
  const validation = colorsOf(process.stdout).bold(share(validAccuracy));
  if (process.stdout.isTTY && columnsOf(process.stdout) < EPOCH_LINE_COLUMNS) return `${epoch + 1}/${epochCount}  validation ${validation}  loss ${share(trainLoss)}`;
  return `epoch ${epoch + 1}/${epochCount}  loss ${share(trainLoss)}  accuracy ${share(trainAccuracy)}  validation ${validation}  ${picturesPerSecond.toFixed(0)} pictures/s`;
}

function stepSuffix({ loss, step }: { loss: number; step: number }, stepCount: number, secondsAStep: number): string {
  const left = stepCount > step ? `, ${clock((stepCount - step) * secondsAStep)} left` : '';
  return `loss ${share(loss)}${left}`;
}

export const shorten = (text: string, length = 100): string => (text.length <= length ? text : `${text.slice(0, length - 1)}…`);
