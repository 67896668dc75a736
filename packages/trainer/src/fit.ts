import { type Classifier, type Optimizer, type ParameterGroup, Adam, Sgd, UserError, applyPhase, earlyStopping, phaseIndexAt, scheduleFactor } from '@chameleon/core';
import { type Dataset, type PictureLoader, stepCount } from '@chameleon/data';
import { stepInMemory } from './batch-that-fits.js';
import type { TrainConfig } from './config.js';
import type { Position } from './checkpoint.js';
import { type Evaluation, evaluate, gatherEvaluation } from './evaluation.js';
import type { NewEvent } from './events.js';
import type { Exchange } from './exchange/exchange.js';
import { type AskedChange, type Change, changedPhase, changedRates, hasHeard, nextChange } from './live/change.js';
import { parameterGroups, ratesOf } from './parameter-groups.js';
import { replicasAreEqual } from './replicas.js';
import { agreeOnStatistics } from './statistics.js';
import { type StepPhase, type StepResult, type StepSettings } from './training-step.js';

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
  /** The part [from, to) of a global batch of so many rows that this rank takes; by default all. */
  slice?: (rows: number) => [from: number, to: number];
  /** Called as soon as a state counts: the step is applied, or the epoch is over. */
  onPosition?: (position: Position) => void;
  /** Once aborted, nothing is waited for any more: others will not come to the exchange. */
  giveUp?: AbortSignal;
  /** Whether somebody asks this rank for a checkpoint after the step at hand. */
  wantsCheckpoint?: () => boolean;
  /** What this rank knows of the changes that were asked for, those that were taken among them. */
  askedChanges?: () => readonly AskedChange[];
  onPhase?: (phase: StepPhase | 'validation') => void;
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

/**
 * Trains from a position to the end of the configured epochs. Reads downwards: each epoch's phase, steps, validation, checkpoint.
 * With several ranks all of them run it, and stop and leave checkpoints after the same steps.
 */
export async function fit(parts: FitParts): Promise<FitResult> {
  const { config, dataset, model, signal } = parts;
  let position = parts.start;
  const stepsPerEpoch = stepCount(dataset.train.length, config.batchSize, config.dropLast);
  let phaseIndex = -1;
  while (position.epoch < config.epochs) {
    const index = phaseIndexAt(config.recipe, position.epoch, config.epochs);
    const phase = changedPhase(config.recipe, index, position.changes);
    applyPhase(model, phase);
    if (index !== phaseIndex) await parts.emit({ type: 'phase', phase: index, epoch: position.epoch, trainable: trainableCount(model), batchNorm: phase.batchNorm });
    phaseIndex = index;
    const trained = await trainEpoch(parts, position, stepsPerEpoch, index);
    position = trained.position;
    if (trained.stopped) return interrupted(parts, position);
    const evaluation = await evaluateUnlessStopped(parts);
    if (evaluation === null) return interrupted(parts, position);
    position = await endEpoch(parts, position, evaluation, index, stepsPerEpoch);
    // Nobody counts the epoch as over before all know that its checkpoint is whole.
    const stopWanted = await anyone(parts, signal.aborted);
    parts.onPosition?.(position);
    if (config.patience !== null && earlyStopping({ patience: config.patience }, position.history).stop) return { position, reason: 'stopped early', validAccuracy: position.history.at(-1)! };
    if (position.epoch < config.epochs && stopWanted) return { position, reason: 'interrupted', validAccuracy: position.history.at(-1)! };
  }
  return { position, reason: 'done', validAccuracy: position.history.at(-1) ?? Number.NaN };
}

/** The rest of an epoch's steps; stops between two steps when the run is told to. */
async function trainEpoch(parts: FitParts, start: Position, stepsPerEpoch: number, phaseIndex: number): Promise<{ position: Position; stopped: boolean }> {
  const { config, dataset, model, exchange, signal, onPhase = () => undefined } = parts;
  const settings: StepSettings = { precision: config.precision, labelSmoothing: config.labelSmoothing, clipNorm: config.clipNorm, accumulate: config.accumulate, seed: config.seed, imageSize: config.imageSize, syncBatchNorm: config.syncBatchNorm };
  let position = start;
  let asked = performance.now();
  onPhase('data');
  const batches = parts.loader.train({ seed: config.seed, epoch: start.epoch, batchSize: config.batchSize, augmentation: config.augmentation, firstStep: start.stepInEpoch, dropLast: config.dropLast, ...(parts.slice ? { slice: parts.slice } : {}), signal: parts.giveUp });
  for await (const batch of batches) {
    const began = performance.now();
    const groups = groupsAt(parts, position, position.step, { phaseIndex, stepsPerEpoch });
    const globalBatch = exchange.worldSize === 1 ? batch.rows : Math.min(config.batchSize, dataset.train.length - position.stepInEpoch * config.batchSize);
    const changes = parts.askedChanges?.() ?? [];
    const votes = [signal.aborted, parts.wantsCheckpoint?.() ?? false, hasHeard(changes, position.changes)].map(Number);
    const result = await stepInMemory({ ...batch, epoch: start.epoch, globalBatch, votes }, groups, { ...parts, settings });
    const done = performance.now();
    const [stopWanted, checkpointWanted, heardBy] = result.votes;
    const change = nextChange(changes, position.changes, { step: position.step + 1, heardBy: heardBy!, worldSize: exchange.worldSize });
    position = after(position, result, (done - asked) / 1000, change);
    if (change?.kind === 'unfreeze') applyPhase(model, changedPhase(config.recipe, phaseIndex, position.changes));
    parts.onPosition?.(position);
    // A batch of bad pictures alone teaches nothing.
    const loss = result.lossSum / Math.max(1, result.pictureCount);
    await parts.emit({ type: 'step', step: position.step, epoch: start.epoch, loss, correct: result.correctCount, pictures: result.pictureCount, samples: result.samples, learningRates: ratesOf(groups), dataSeconds: (began - asked) / 1000, computeSeconds: (done - began) / 1000 });
    if (change) await parts.emit({ type: 'change', id: position.changes.length, step: position.step, epoch: start.epoch, change });
    if (!Number.isFinite(loss)) throw diverged(position.step, ratesOf(groups));
    const due = (config.checkpointEvery !== null && position.step % config.checkpointEvery === 0 && position.stepInEpoch < stepsPerEpoch) || checkpointWanted! > 0;
    if (stopWanted! > 0 || (exchange.worldSize === 1 && signal.aborted)) {
      await agreeOnStatistics(parts);
      return { position, stopped: true };
    }
    if (due) await leaveCheckpoint(parts, position);
    asked = performance.now();
    onPhase('data');
  }
  return { position, stopped: false };
}

/** What learns at a step, and how fast: the phase, the schedule, and what was changed since. */
function groupsAt({ config, model }: FitParts, { changes }: Position, step: number, { phaseIndex, stepsPerEpoch }: { phaseIndex: number; stepsPerEpoch: number }): ParameterGroup[] {
  const at = { step, stepCount: config.epochs * stepsPerEpoch, stepsPerEpoch };
  const groups = parameterGroups(model, changedPhase(config.recipe, phaseIndex, changes), config.learningRate * scheduleFactor(config.schedule, at));
  return changedRates(groups, changes, config.schedule, at);
}

async function leaveCheckpoint(parts: FitParts, position: Position): Promise<void> {
  await agreeOnStatistics(parts);
  await parts.checkpoint(position, null);
}

/** Whether any rank says yes. */
async function anyone({ exchange }: FitParts, vote: boolean): Promise<boolean> {
  const [votes] = await exchange.sumNumbers([Number(vote)]);
  return votes! > 0;
}

function after({ totals, ...position }: Position, { lossSum, correctCount, pictureCount }: StepResult, seconds: number, change: Change | undefined): Position {
  const step = position.step + 1;
  return {
    ...position,
    step,
    ...(change ? { changes: [...position.changes, { step, change }] } : {}),
    stepInEpoch: position.stepInEpoch + 1,
    totals: { lossSum: totals.lossSum + lossSum, correctCount: totals.correctCount + correctCount, pictureCount: totals.pictureCount + pictureCount, seconds: totals.seconds + seconds },
  };
}

/** The epoch's row, and the position at the start of the next. */
async function endEpoch(parts: FitParts, position: Position, evaluation: Evaluation, phaseIndex: number, stepsPerEpoch: number): Promise<Position> {
  const { totals, epoch, step } = position;
  const learningRates = ratesOf(groupsAt(parts, position, Math.max(0, step - 1), { phaseIndex, stepsPerEpoch }));
  const replicasEqual = await replicasAreEqual(parts.model, parts.exchange);
  await parts.emit({
    type: 'epoch', epoch, step,
    trainLoss: totals.lossSum / totals.pictureCount, trainAccuracy: totals.correctCount / totals.pictureCount,
    validLoss: evaluation.loss, validAccuracy: evaluation.accuracy,
    seconds: totals.seconds, picturesPerSecond: totals.pictureCount / totals.seconds, learningRates, replicasEqual,
  });
  if (!replicasEqual) await parts.emit({ type: 'fault', message: `After epoch ${epoch} the ranks do not hold the same weights, bit for bit. Workers on different processors may differ in their last bits; on equal ones this is an error of the exchange: please report it.` });
  // Of equals the later one counts: it has learnt longer.
  const best = evaluation.accuracy >= (position.best?.accuracy ?? 0);
  const next: Position = {
    step, epoch: epoch + 1, stepInEpoch: 0,
    totals: { lossSum: 0, correctCount: 0, pictureCount: 0, seconds: 0 },
    history: [...position.history, evaluation.accuracy],
    best: best ? { epoch, accuracy: evaluation.accuracy, step } : position.best,
    changes: position.changes,
  };
  const shown = best ? await gatherEvaluation(evaluation, parts.exchange) : evaluation;
  await parts.checkpoint(next, { evaluation: shown, best });
  return next;
}

/** Null when the run was stopped meanwhile; with others, validation is always finished, for one rank alone can't leave it. */
async function evaluateUnlessStopped(parts: FitParts): Promise<Evaluation | null> {
  const { model, loader, config, dataset, exchange, signal, giveUp, onPhase } = parts;
  onPhase?.('validation');
  await agreeOnStatistics(parts);
  try {
    return await evaluate(model, loader, { precision: config.precision, imageSize: config.imageSize, exchange, validCount: dataset.valid.length, signal: exchange.worldSize === 1 ? signal : giveUp });
  } catch (error) {
    if (signal.aborted && exchange.worldSize === 1) return null;
    throw error;
  }
}

async function interrupted({ checkpoint }: FitParts, position: Position): Promise<FitResult> {
  await checkpoint(position, null);
  return { position, reason: 'interrupted', validAccuracy: position.history.at(-1) ?? Number.NaN };
}

const trainableCount = (model: Classifier): number => model.parameters().reduce((sum, parameter) => sum + (parameter.trainable ? parameter.size : 0), 0);

function diverged(step: number, rates: Readonly<Record<string, number>>): UserError {
  return new UserError(`The loss is no longer a number at step ${step} (learning rate ${Math.max(...Object.values(rates)).toPrecision(3)}): the run diverged. Lower --learning-rate, or pass --clip-norm 1.`);
}
