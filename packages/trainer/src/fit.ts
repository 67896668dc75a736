import { type Classifier, type Optimizer, Adam, Sgd, UserError, applyPhase, earlyStopping, phaseIndexAt, scheduleFactor } from '@chameleon/core';
import { type Dataset, type PictureLoader, stepCount } from '@chameleon/data';
import type { TrainConfig } from './config.js';
import type { Position } from './checkpoint.js';
import { type Evaluation, evaluate } from './evaluation.js';
import type { NewEvent } from './events.js';
import type { Exchange } from './exchange.js';
import { parameterGroups, ratesOf } from './parameter-groups.js';
import { type StepSettings, trainStep } from './training-step.js';

export interface FitParts {
  config: TrainConfig;
  dataset: Dataset;
  model: Classifier;
  optimizer: Optimizer;
  loader: PictureLoader;
  exchange: Exchange;
  start: Position;
  /** Once aborted, the step at hand is finished, a checkpoint is asked for and the run ends. */
  signal: AbortSignal;
  emit: (event: NewEvent) => Promise<void>;
  /** The state between two steps; `evaluation` at an epoch's end, with whether it is the best so far. */
  checkpoint: (position: Position, atEpochEnd: { evaluation: Evaluation; best: boolean } | null) => Promise<void>;
}

export interface FitResult {
  position: Position;
  reason: 'done' | 'stopped early' | 'interrupted';
  /** Of the last epoch; NaN when none was finished. */
  validAccuracy: number;
}

export function createOptimizer({ optimizer, momentum, weightDecay }: TrainConfig): Optimizer {
  switch (optimizer) {
    case 'adam':
      return new Adam({ weightDecay });
    case 'adamw':
      return new Adam({ weightDecay, decoupled: true });
    case 'sgd':
      return new Sgd({ momentum, weightDecay });
    default:
      return optimizer satisfies never;
  }
}

/** Trains from a position to the end of the configured epochs. Reads downwards: each epoch's phase, steps, validation, checkpoint. */
export async function fit(parts: FitParts): Promise<FitResult> {
  const { config, dataset, model, signal } = parts;
  let position = parts.start;
  const stepsPerEpoch = stepCount(dataset.train.length, config.batchSize, config.dropLast);
  let phaseIndex = -1;
  while (position.epoch < config.epochs) {
    const index = phaseIndexAt(config.recipe, position.epoch, config.epochs);
    applyPhase(model, config.recipe.phases[index]!);
    if (index !== phaseIndex) await parts.emit({ type: 'phase', phase: index, epoch: position.epoch, trainable: trainableCount(model), batchNorm: config.recipe.phases[index]!.batchNorm });
    phaseIndex = index;
    position = await trainEpoch(parts, position, stepsPerEpoch, index);
    if (signal.aborted) return interrupted(parts, position);
    const evaluation = await evaluateUnlessStopped(parts);
    if (evaluation === null) return interrupted(parts, position);
    position = await endEpoch(parts, position, evaluation, index, stepsPerEpoch);
    if (config.patience !== null && earlyStopping({ patience: config.patience }, position.history).stop) return { position, reason: 'stopped early', validAccuracy: position.history.at(-1)! };
    if (signal.aborted && position.epoch < config.epochs) return { position, reason: 'interrupted', validAccuracy: position.history.at(-1)! };
  }
  return { position, reason: 'done', validAccuracy: position.history.at(-1) ?? Number.NaN };
}

/** The rest of an epoch's steps; stops between two steps when the run is told to. */
async function trainEpoch(parts: FitParts, start: Position, stepsPerEpoch: number, phaseIndex: number): Promise<Position> {
  const { config, dataset, model, exchange, signal } = parts;
  const phase = config.recipe.phases[phaseIndex]!;
  const settings: StepSettings = { precision: config.precision, labelSmoothing: config.labelSmoothing, clipNorm: config.clipNorm, accumulate: config.accumulate, seed: config.seed, imageSize: config.imageSize };
  let position = start;
  let asked = performance.now();
  const batches = parts.loader.train({ seed: config.seed, epoch: start.epoch, batchSize: config.batchSize, augmentation: config.augmentation, firstStep: start.stepInEpoch, dropLast: config.dropLast });
  for await (const batch of batches) {
    const began = performance.now();
    const factor = scheduleFactor(config.schedule, { step: position.step, stepCount: config.epochs * stepsPerEpoch, stepsPerEpoch });
    const groups = parameterGroups(model, phase, config.learningRate * factor);
    const globalBatch = exchange.worldSize === 1 ? batch.rows : Math.min(config.batchSize, dataset.train.length - position.stepInEpoch * config.batchSize);
    const result = await trainStep({ ...batch, epoch: start.epoch, globalBatch }, groups, { ...parts, settings });
    const done = performance.now();
    position = after(position, result, (done - asked) / 1000);
    const loss = result.lossSum / result.pictureCount;
    await parts.emit({ type: 'step', step: position.step, epoch: start.epoch, loss, correct: result.correctCount, pictures: result.pictureCount, learningRates: ratesOf(groups), dataSeconds: (began - asked) / 1000, computeSeconds: (done - began) / 1000 });
    if (!Number.isFinite(loss)) throw diverged(position.step, config.learningRate * factor);
    if (signal.aborted) break;
    if (config.checkpointEvery !== null && position.step % config.checkpointEvery === 0 && position.stepInEpoch < stepsPerEpoch) await parts.checkpoint(position, null);
    asked = performance.now();
  }
  return position;
}

function after({ totals, ...position }: Position, { lossSum, correctCount, pictureCount }: { lossSum: number; correctCount: number; pictureCount: number }, seconds: number): Position {
  return {
    ...position,
    step: position.step + 1,
    stepInEpoch: position.stepInEpoch + 1,
    totals: { lossSum: totals.lossSum + lossSum, correctCount: totals.correctCount + correctCount, pictureCount: totals.pictureCount + pictureCount, seconds: totals.seconds + seconds },
  };
}

/** The epoch's row, and the position at the start of the next. */
async function endEpoch(parts: FitParts, position: Position, evaluation: Evaluation, phaseIndex: number, stepsPerEpoch: number): Promise<Position> {
  const { config, model } = parts;
  const { totals, epoch, step } = position;
  const factor = scheduleFactor(config.schedule, { step: Math.max(0, step - 1), stepCount: config.epochs * stepsPerEpoch, stepsPerEpoch });
  const learningRates = ratesOf(parameterGroups(model, config.recipe.phases[phaseIndex]!, config.learningRate * factor));
  await parts.emit({
    type: 'epoch', epoch, step,
    trainLoss: totals.lossSum / totals.pictureCount, trainAccuracy: totals.correctCount / totals.pictureCount,
    validLoss: evaluation.loss, validAccuracy: evaluation.accuracy,
    seconds: totals.seconds, picturesPerSecond: totals.pictureCount / totals.seconds, learningRates,
  });
  // Of equals the later one counts: it has learnt longer.
  const best = evaluation.accuracy >= (position.best?.accuracy ?? 0);
  const next: Position = {
    step, epoch: epoch + 1, stepInEpoch: 0,
    totals: { lossSum: 0, correctCount: 0, pictureCount: 0, seconds: 0 },
    history: [...position.history, evaluation.accuracy],
    best: best ? { epoch, accuracy: evaluation.accuracy, step } : position.best,
  };
  await parts.checkpoint(next, { evaluation, best });
  return next;
}

async function evaluateUnlessStopped({ model, loader, config, signal }: FitParts): Promise<Evaluation | null> {
  try {
    return await evaluate(model, loader, { precision: config.precision, imageSize: config.imageSize, signal });
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  }
}

async function interrupted({ checkpoint }: FitParts, position: Position): Promise<FitResult> {
  await checkpoint(position, null);
  return { position, reason: 'interrupted', validAccuracy: position.history.at(-1) ?? Number.NaN };
}

const trainableCount = (model: Classifier): number => model.parameters().reduce((sum, parameter) => sum + (parameter.trainable ? parameter.size : 0), 0);

function diverged(step: number, learningRate: number): UserError {
  return new UserError(`The loss is no longer a number at step ${step} (learning rate ${learningRate.toPrecision(3)}): the run diverged. Lower --learning-rate, or pass --clip-norm 1.`);
}
