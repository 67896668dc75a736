import { join } from 'node:path';
import { IMAGENET_NORMALIZATION, type Dataset } from '@chameleon/data';
import { type CheckpointBytes, type Position, markBest, pruneCheckpoints, readCheckpoint, writeCheckpoint } from './checkpoint.js';
import type { TrainConfig } from './config.js';
import type { Evaluation } from './evaluation.js';
import { writeWhole } from './files.js';
import { writeModel } from './model-bundle.js';
import { FILES } from './run-directory.js';

/** What a run leaves behind beside its log: who trains it writes it, alone or as rank 0. */

/** A state and, at an epoch's end, what the model said of the validation pictures. */
export interface Milestone {
  bytes: CheckpointBytes;
  position: Position;
  atEpochEnd: { evaluation: Evaluation; best: boolean } | null;
}

/** Writes a checkpoint, marks it where it is the best, and removes those that are no longer kept. */
export async function leaveMilestone(path: string, { bytes, position, atEpochEnd }: Milestone, dataset: Dataset, { keepCheckpoints }: TrainConfig): Promise<void> {
  await writeCheckpoint(path, position.step, bytes);
  if (atEpochEnd?.best) {
    await writeWhole(join(path, FILES.validation), validationLines(atEpochEnd.evaluation, dataset));
    await markBest(path, position.best!);
  }
  await pruneCheckpoints(path, keepCheckpoints, position.best?.step ?? null);
}

/** The best checkpoint's weights are what is served. */
export async function writeBestModel(run: { path: string; id: string }, config: TrainConfig, classes: string[], best: { step: number; accuracy: number }): Promise<void> {
  const { model } = await readCheckpoint(run.path, best.step);
  await writeModel(join(run.path, FILES.model), model, {
    name: run.id, runId: run.id, classes,
    architecture: config.architecture, head: config.recipe.head, imageSize: config.imageSize, precision: config.precision, recipe: config.recipe.name,
    normalization: IMAGENET_NORMALIZATION, validAccuracy: best.accuracy, createdAt: new Date().toISOString(),
  });
}

/** One validation picture a line: path, label, and what the model gives each class. */
function validationLines({ indices, probabilities }: Evaluation, dataset: Dataset): string {
  const classCount = dataset.classes.length;
  return Array.from(indices, (index, row) => {
    const { path, label } = dataset.valid[index]!;
    return `${JSON.stringify({ path, label, probabilities: Array.from(probabilities.subarray(row * classCount, (row + 1) * classCount), (p) => Number(p.toFixed(6))) })}\n`;
  }).join('');
}
