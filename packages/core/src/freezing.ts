import { UserError, nearest } from './errors.js';
import { type Classifier, STAGE_NAMES, type StageName } from './models/classifier.js';

/**
 * What BatchNorm does in the body, frozen or not:
 * `batch-stats`: scale and shift frozen, normalises with the batch's statistics, the running ones move;
 * `eval`: scale and shift frozen, normalises with the running statistics, which stay bit for bit the same;
 * `batch-norm-only`: scale and shift learn, normalises with the batch's statistics, the running ones move.
 */
export type BatchNormMode = 'batch-stats' | 'eval' | 'batch-norm-only';

export interface FreezeOptions {
  /** The last stage that is frozen; by default the whole body ('layer4'). The head always learns. */
  upTo?: StageName;
  batchNorm: BatchNormMode;
}

const BODY: readonly StageName[] = STAGE_NAMES.filter((name) => name !== 'fc');

/**
 * Freezes the body up to a stage, whose name torchvision gives, and unfreezes what comes after. A frozen parameter has
 * no gradient computed and no optimizer state, and keeps its bits.
 */
export function freeze(model: Classifier, { upTo = 'layer4', batchNorm }: FreezeOptions): void {
  if (!BODY.includes(upTo)) {
    const near = nearest(upTo, BODY);
    throw new UserError(`There is no stage called ${upTo} to freeze up to. ${near ? `Did you mean ${near}? ` : ''}The body's stages are ${BODY.join(', ')}.`, { exitCode: 2 });
  }
  const frozen = BODY.slice(0, BODY.indexOf(upTo) + 1);
  for (const name of STAGE_NAMES) {
    const trainable = !frozen.includes(name);
    for (const parameter of model.stages.get(name)!.parameters()) parameter.trainable = trainable;
  }
  for (const layer of model.batchNorms(BODY)) layer.usesBatchStatistics = true;
  setBatchNorm(model, frozen, batchNorm);
}

/** All parameters learn and BatchNorm is as in ordinary training; with `eval` it stays frozen and still. */
export function unfreeze(model: Classifier, { batchNorm = 'batch-norm-only' }: { batchNorm?: BatchNormMode } = {}): void {
  for (const parameter of model.parameters()) parameter.trainable = true;
  setBatchNorm(model, BODY, batchNorm);
}

function setBatchNorm(model: Classifier, stages: readonly StageName[], mode: BatchNormMode): void {
  for (const layer of model.batchNorms(stages)) {
    layer.usesBatchStatistics = mode !== 'eval';
    for (const parameter of layer.parameters()) parameter.trainable = mode === 'batch-norm-only';
  }
}
