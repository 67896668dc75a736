import type { Tensor } from '@tensorflow/tfjs-core';
import { type BatchNormTensors, type BatchStatistics, batchNormBackward, batchNormInference, batchNormTraining } from '../ops/batch-norm.js';
import { release } from '../ops/kernels.js';
import { type GlobalStatistics, synchronisedBackward, synchronisedTraining } from '../ops/synchronised-batch-norm.js';
import type { Parameter, StateBuffer } from '../parameter.js';
import { type Pass, give } from '../tape.js';
import type { Module } from './module.js';

/** torch.nn.BatchNorm1d and 2d, channels last. */
export class BatchNorm implements Module {
  readonly momentum = 0.1;
  readonly epsilon = 1e-5;
  /** Whether training passes normalise with the batch's statistics and move the running ones. */
  usesBatchStatistics = true;
  /** Training passes that moved the statistics, torch's num_batches_tracked. */
  batchesTracked = 0;

  constructor(
    readonly name: string,
    readonly weight: Parameter,
    readonly bias: Parameter,
    readonly runningMean: StateBuffer,
    readonly runningVariance: StateBuffer,
  ) {}

  forward(x: Tensor, pass: Pass): Tensor {
    const tensors = this.tensors();
    if (!pass.training || !this.usesBatchStatistics) {
      const y = batchNormInference(x, tensors, this);
      this.#record(x, null, pass);
      return y;
    }
    const { y, batch, runningMean, runningVariance } = pass.acrossRanks ? synchronisedTraining(x, tensors, this, pass.acrossRanks) : batchNormTraining(x, tensors, this);
    this.move({ mean: runningMean, variance: runningVariance });
    if (!this.#record(x, batch, pass)) releaseStatistics(batch);
    return y;
  }

  tensors(): BatchNormTensors {
    return { scale: this.weight.value, shift: this.bias.value, mean: this.runningMean.value, variance: this.runningVariance.value };
  }

  /** Takes over the running statistics after a training pass. */
  move({ mean, variance }: { mean: Tensor; variance: Tensor }): void {
    this.runningMean.replace(mean);
    this.runningVariance.replace(variance);
    this.batchesTracked++;
  }

  /** Pushes the way back, which owns `batch`; false where there is none. */
  #record(x: Tensor, batch: BatchStatistics | GlobalStatistics | null, pass: Pass): boolean {
    const input = pass.tape?.needsGradient ?? false;
    const parameters = this.weight.trainable;
    if (!pass.tape || !(input || parameters)) return false;
    const saved = x.clone();
    pass.tape.push((dy) => {
      const { momentum, epsilon } = this, needs = { input, parameters };
      const { dx, dScale, dShift } = batch && 'count' in batch && pass.acrossRanks
        ? synchronisedBackward(dy, saved, this.tensors(), batch, { momentum, epsilon, precision: pass.precision }, needs, pass.acrossRanks)
        : batchNormBackward(dy, saved, this.tensors(), batch, this, needs);
      if (dScale) give(pass, this.weight, dScale);
      if (dShift) give(pass, this.bias, dShift);
      release(dy, saved);
      releaseStatistics(batch);
      return dx;
    });
    return true;
  }

  parameters(): Parameter[] {
    return [this.weight, this.bias];
  }

  buffers(): StateBuffer[] {
    return [this.runningMean, this.runningVariance];
  }
}

function releaseStatistics(batch: BatchStatistics | GlobalStatistics | null): void {
  release(batch?.mean, batch?.inverseDeviation, batch && 'count' in batch ? batch.count : null);
}
