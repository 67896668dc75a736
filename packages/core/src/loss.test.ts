import { memory, tensor2d } from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { crossEntropy, evaluateLogits } from './loss.js';
import { randomStream } from './random.js';
import { useBackend } from './testing/engine.js';

beforeAll(() => useBackend('libtorch'));
afterEach(() => expect(memory().numTensors).toBe(0));

const ROWS = 5, CLASSES = 4;
const random = randomStream('loss');
const values = Array.from({ length: ROWS }, () => Array.from({ length: CLASSES }, () => Math.fround(3 * random.normal())));
const labels = Int32Array.of(0, 3, 1, 1, 2);

/** Textbook softmax cross-entropy of one row in double precision, with smoothed targets. */
function rowOf(row: number[], label: number, smoothing: number): { loss: number; gradient: number[]; probabilities: number[] } {
  const sum = row.reduce((total, x) => total + Math.exp(x), 0);
  const probabilities = row.map((x) => Math.exp(x) / sum);
  const targets = row.map((_, c) => smoothing / CLASSES + (c === label ? 1 - smoothing : 0));
  return { loss: -targets.reduce((total, t, c) => total + t * Math.log(probabilities[c]!), 0), gradient: probabilities.map((p, c) => p - targets[c]!), probabilities };
}

function computed(options: { labelSmoothing?: number; globalBatch?: number } = {}, rows = values, rowLabels = labels) {
  const logits = tensor2d(rows);
  const { gradient, ...rest } = crossEntropy(logits, rowLabels, options);
  const gradients = [...gradient.dataSync()];
  logits.dispose();
  gradient.dispose();
  return { ...rest, gradients };
}

describe('cross-entropy', () => {
  it.each([0, 0.1, 0.5])('has the value and the gradient of its formula with label smoothing %d', (labelSmoothing) => {
    const { lossSum, gradients, probabilities } = computed({ labelSmoothing });
    const expected = values.map((row, i) => rowOf(row, labels[i]!, labelSmoothing));
    expect(lossSum).toBeCloseTo(expected.reduce((sum, { loss }) => sum + loss, 0), 4);
    expected.flatMap(({ gradient }) => gradient).forEach((g, i) => expect(gradients[i]).toBeCloseTo(g / ROWS, 6));
    expected.flatMap((row) => row.probabilities).forEach((p, i) => expect(probabilities[i]).toBeCloseTo(p, 6));
  });

  it('divides the gradient by the global batch, so that slices add up to the whole', () => {
    const whole = computed();
    const parts = [[0, 2], [2, 5]].map(([from, to]) => computed({ globalBatch: ROWS }, values.slice(from, to), labels.slice(from, to)));
    expect(parts.flatMap(({ gradients }) => gradients)).toEqual(whole.gradients);
    expect(parts.reduce((sum, { lossSum }) => sum + lossSum, 0)).toBeCloseTo(whole.lossSum, 5);
    expect(parts.reduce((sum, { correctCount }) => sum + correctCount, 0)).toBe(whole.correctCount);
  });

  it('stays finite for logits that are far apart', () => {
    const { lossSum, gradients } = computed({}, [[1000, -1000, 0, 0]], Int32Array.of(1));
    expect(lossSum).toBe(2000);
    expect(gradients).toEqual([1, -1, 0, 0]);
  });

  it('is NaN where a logit is, so that whoever trains sees that the run diverged; and that row is no hit', () => {
    const { lossSum, correctCount } = computed({}, [[Number.NaN, 0, 0, 0], [9, 0, 0, 0]], Int32Array.of(0, 0));
    expect(lossSum).toBeNaN();
    expect(correctCount).toBe(1);
  });

  it('counts rows whose largest logit is the label, as evaluation does', () => {
    const logits = tensor2d([[1, 2, 0, 0], [5, 1, 1, 1], [0, 0, 0, 1]]);
    const { lossSum, correctCount, probabilities } = evaluateLogits(logits, Int32Array.of(1, 0, 2));
    expect(correctCount).toBe(2);
    expect(probabilities).toHaveLength(12);
    expect(lossSum).toBeCloseTo([[1, 2, 0, 0], [5, 1, 1, 1], [0, 0, 0, 1]].reduce((sum, row, i) => sum + rowOf(row, [1, 0, 2][i]!, 0).loss, 0), 5);
    logits.dispose();
  });
});
