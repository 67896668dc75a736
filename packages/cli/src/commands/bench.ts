import { type Precision, UserError } from '@chameleon/core';
import { STEP_KINDS, StepBench, type StepKind, type StepTask, median, peakBytes, resetPeakBytes } from '@chameleon/trainer';
import { type Command, InvalidArgumentError } from 'commander';
import { atLeastOne } from '../distributed-settings.js';
import { type Engine, resolvePrecision, startEngine } from '../engine.js';
import { interruption } from '../interruption.js';
import { Progress, print, printJson, remark, table } from '../output.js';
import { ENGINE_SETTINGS, type Given, withSettings } from '../settings.js';

/** Until the memory is taken and the processor at its pace. */
const WARM_STEPS = 2;

const kinds = (text: string): StepKind[] => text.split(',').map((name) => {
  if (!(STEP_KINDS as readonly string[]).includes(name)) throw new InvalidArgumentError(`Choose among ${STEP_KINDS.join(', ')}.`);
  return name as StepKind;
});

export function addBench(program: Command): void {
  withSettings(program.command('bench'), ENGINE_SETTINGS)
    .description('Measure how fast this machine trains, and how much memory a step takes.')
    .option('--arch <name>', 'resnet18, 34, 50, 101 or 152', 'resnet34')
    .option('--kind <kinds>', `what learns: ${STEP_KINDS[0]} for all of the model, or the head above a body that is frozen in one of the other ways`, kinds, [...STEP_KINDS])
    .option('--batch-size <n>', 'pictures a step', atLeastOne, 16)
    .option('--image-size <px>', 'side of the pictures', atLeastOne, 224)
    .option('--steps <n>', 'steps that are measured, of each kind', atLeastOne, 10)
    .option('--json', 'print a line of JSON for each kind')
    .addHelpText('after', `
Times are medians. The pictures are noise and lie ready: reading photographs is not in it. The peak is what the backend's
tensors and scratch took; the process has some 150 MiB beside it. \`npm run bench\` measures PyTorch beside it.

Examples:
  chameleon bench
  chameleon bench --arch resnet50 --kind full --batch-size 32
  chameleon bench --device cuda --precision bfloat16 --batch-size 256 --json`)
    .action((given: Given) => runBench(given));
}

interface BenchRow extends StepTask {
  backend: string;
  steps: number;
  stepMs: number;
  picturesPerSecond: number;
  phasesMs: Record<string, number>;
  peakBytes: number | null;
}

async function runBench(given: Given): Promise<void> {
  using stop = interruption();
  const engine = await startEngine(given);
  const precision = resolvePrecision((given['precision'] as Precision | 'auto' | undefined) ?? 'auto', engine);
  const json = given['json'] === true;
  if (!json) remark(`computing with ${engine.description}, in ${precision}`);
  const progress = new Progress(process.stderr.isTTY && !json);
  const rows: BenchRow[] = [];
  for (const kind of given['kind'] as StepKind[]) {
    const task: StepTask = { architecture: given['arch'] as string, kind, precision, batchSize: given['batchSize'] as number, imageSize: given['imageSize'] as number };
    const row = await measure(task, given['steps'] as number, engine, progress, stop.signal).finally(() => progress.clear());
    rows.push(row);
    if (json) printJson(row);
  }
  if (!json) print(tableOf(rows));
}

async function measure(task: StepTask, steps: number, engine: Engine, progress: Progress, signal: AbortSignal): Promise<BenchRow> {
  using bench = new StepBench(task);
  const tell = (before: number) => (done: number) => progress.update(task.kind, before + done, WARM_STEPS + steps);
  await bench.run(WARM_STEPS, tell(0), signal);
  resetPeakBytes();
  const { stepMs, phasesMs, loss } = await bench.run(steps, tell(WARM_STEPS), signal);
  if (!Number.isFinite(loss)) throw new UserError(`The loss of ${task.kind} is no number any more after ${WARM_STEPS + steps} steps on noise. Measure fewer --steps.`);
  const ms = median(stepMs);
  return {
    ...task, backend: engine.description, steps, stepMs: ms, picturesPerSecond: (1000 * task.batchSize) / ms,
    phasesMs: Object.fromEntries(Object.entries(phasesMs).map(([phase, times]) => [phase, median(times)])), peakBytes: peakBytes(),
  };
}

function tableOf(rows: readonly BenchRow[]): string {
  const cells = ({ kind, stepMs, picturesPerSecond, phasesMs, peakBytes: peak }: BenchRow) => [
    kind, stepMs.toFixed(1), picturesPerSecond.toFixed(1), ...['forward', 'backward', 'optimizer'].map((phase) => phasesMs[phase]!.toFixed(1)), peak === null ? 'not counted' : (peak / 2 ** 20).toFixed(0),
  ];
  return table([['learns', 'step, ms', 'pictures/s', 'forward, ms', 'backward, ms', 'optimizer, ms', 'peak, MiB'], ...rows.map(cells)]);
}
