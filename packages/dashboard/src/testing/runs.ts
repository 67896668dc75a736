import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const BEGIN_MS = Date.UTC(2026, 10, 25, 9);
const at = (seconds: number): string => new Date(BEGIN_MS + seconds * 1000).toISOString();

export interface WrittenRun {
  stepCount?: number;
  loss?: (step: number) => number | null;
  classes?: string[];
  /** The last line. */
  end?: string;
  config?: string;
}

export const startLine = (classes: string[], stepCount: number): string => JSON.stringify({ type: 'start', time: at(0), trainCount: 80, validCount: 20, classes, stepCount, backend: 'libtorch' });
export const stepLine = (step: number, loss: number | null): string => JSON.stringify({ type: 'step', time: at(step), step, epoch: 0, loss, correct: 5, pictures: 10, learningRates: { head: 0.001 }, dataSeconds: 0.01, computeSeconds: 0.1 });
export const epochLine = (epoch: number, step: number, validAccuracy: number): string => JSON.stringify({ type: 'epoch', time: at(step), epoch, step, trainLoss: 0.5, trainAccuracy: 0.7, validLoss: 0.4, validAccuracy, seconds: 10, picturesPerSecond: 80, learningRates: { head: 0.001 } });
export const finishLine = (step: number, reason = 'done'): string => JSON.stringify({ type: 'finish', time: at(step), step, validAccuracy: 0.9, seconds: step, reason });

/** A run directory as training leaves it, with steps of which each took a second. */
export async function writeRun(folder: string, id: string, { stepCount = 40, loss = (step) => 1 / step, classes = ['cat', 'dog'], end, config = 'recipe:\n    name: discriminative\n  epochs: 1\n  learningRate: 0.001' }: WrittenRun = {}): Promise<string> {
  const path = join(folder, id);
  await mkdir(join(path, 'checkpoints'), { recursive: true });
  await writeFile(join(path, 'run.yaml'), `version: 0.1.0\nbackend: libtorch\nmachine:\n  cores: "2"\nconfig:\n  data: ${join(folder, 'data')}\n  architecture: resnet18\n  ${config}\n`);
  const steps = Array.from({ length: stepCount }, (_, i) => stepLine(i + 1, loss(i + 1)));
  await writeFile(join(path, 'events.jsonl'), `${[startLine(classes, stepCount), ...steps, epochLine(0, stepCount, 0.9), end ?? finishLine(stepCount)].join('\n')}\n`);
  await writeFile(join(path, 'checkpoints', 'best.json'), JSON.stringify({ step: stepCount, epoch: 0, accuracy: 0.9 }));
  return path;
}
