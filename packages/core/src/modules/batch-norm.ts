import type { Tensor } from '@tensorflow/tfjs-core';
import { type BatchStatistics, batchNormBackward, batchNormInference, batchNormTraining } from '../ops/batch-norm.js';
import { release } from '../ops/kernels.js';
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
    const tensors = { scale: this.weight.value, shift: this.bias.value, mean: this.runningMean.value, variance: this.runningVariance.value };
    if (!pass.training || !this.usesBatchStatistics) {
      const y = batchNormInference(x, tensors, this);
      this.#record(x, null, pass);
      return y;
    }
    const { y, batch, runningMean, runningVariance } = batchNormTraining(x, tensors, this);
    this.runningMean.replace(runningMean);
    this.runningVariance.replace(runningVariance);
    this.batchesTracked++;
    if (!this.#record(x, batch, pass)) release(batch.mean, batch.inverseDeviation);
    return y;
  }

  /** Pushes the way back, which owns `batch`; false where there is none. */
  #record(x: Tensor, batch: BatchStatistics | null, pass: Pass): boolean {
    const input = pass.tape?.needsGradient ?? false;
    const parameters = this.weight.trainable;
    if (!pass.tape || !(input || parameters)) return false;
    const saved = x.clone();
    pass.tape.push((dy) => {
      const tensors = { scale: this.weight.value, shift: this.bias.value, mean: this.runningMean.value, variance: this.runningVariance.value };
      const { dx, dScale, dShift } = batchNormBackward(dy, saved, tensors, batch, this, { input, parameters });
      if (dScale) give(pass, this.weight, dScale);
      if (dShift) give(pass, this.bias, dShift);
      release(dy, saved, batch?.mean, batch?.inverseDeviation);
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
