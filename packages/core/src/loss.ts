import { type Tensor, exp, logSoftmax, mul, scalar, sub, tensor, tidy } from '@tensorflow/tfjs-core';

export interface LossResult {
  /** The sum over the rows, unsmoothed weights included: divide by the rows for the mean. */
  lossSum: number;
  /** Rows whose largest logit is the label's. */
  correctCount: number;
  /** Row by row, [rows, classes]. */
  probabilities: Float32Array;
}

/**
 * Softmax cross-entropy, torch.nn.functional.cross_entropy with label smoothing (Szegedy and others, 2016).
 * `gradient` is that of the sum over the rows divided by `globalBatch`: summed over all machines, it is what one machine
 * would have computed. The caller owns it.
 */
export function crossEntropy(logits: Tensor, labels: Int32Array, options: { labelSmoothing?: number; globalBatch?: number } = {}): LossResult & { gradient: Tensor } {
  const { labelSmoothing = 0, globalBatch = labels.length } = options;
  const [rows, classes] = logits.shape as [number, number];
  const targets = smoothedTargets(labels, classes, labelSmoothing);
  const [logProbabilities, gradient] = tidy(() => {
    const logP = logSoftmax(logits as Tensor<never>);
    const target = tensor(targets, [rows, classes]);
    return [logP, mul(sub(exp(logP), target), scalar(1 / globalBatch))] as [Tensor, Tensor];
  });
  const logP = logProbabilities.dataSync() as Float32Array;
  logProbabilities.dispose();
  return { ...rowStatistics(logP, targets, labels, classes), gradient };
}

/** Loss and hits without a gradient. */
export function evaluateLogits(logits: Tensor, labels: Int32Array): LossResult {
  const classes = logits.shape[1]!;
  const logP = tidy(() => logSoftmax(logits as Tensor<never>));
  const values = logP.dataSync() as Float32Array;
  logP.dispose();
  return rowStatistics(values, smoothedTargets(labels, classes, 0), labels, classes);
}

function smoothedTargets(labels: Int32Array, classes: number, smoothing: number): Float32Array {
  const targets = new Float32Array(labels.length * classes).fill(smoothing / classes);
  labels.forEach((label, row) => (targets[row * classes + label]! += 1 - smoothing));
  return targets;
}

function rowStatistics(logP: Float32Array, targets: Float32Array, labels: Int32Array, classes: number): LossResult {
  let lossSum = 0, correctCount = 0;
  for (let row = 0; row < labels.length; row++) {
    let best = 0;
    for (let c = 0; c < classes; c++) {
      const index = row * classes + c;
      if (targets[index] !== 0) lossSum -= targets[index]! * logP[index]!;
      if (logP[index]! > logP[row * classes + best]!) best = c;
    }
    // NaN is larger than nothing, but nothing is larger than NaN.
    if (best === labels[row] && !Number.isNaN(logP[row * classes + best])) correctCount++;
  }
  return { lossSum, correctCount, probabilities: logP.map(Math.exp) };
}
