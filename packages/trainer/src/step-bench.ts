import { Adam, type Classifier, type Optimizer, type ParameterGroup, type Precision, createClassifier, freeze, unfreeze } from '@chameleon/core';
import { engine, memory } from '@tensorflow/tfjs-core';
import { alone } from './exchange/exchange.js';
import { type StepBatch, type StepPhase, type StepSettings, trainStep } from './training-step.js';

/** How much of the model learns: all, or the head above a body that is frozen in one of core's ways. */
export const STEP_KINDS = ['full', 'batch-stats', 'eval', 'batch-norm-only'] as const;
export type StepKind = (typeof STEP_KINDS)[number];

export interface StepTask {
  architecture: string;
  kind: StepKind;
  precision: Precision;
  /** Pictures a step. */
  batchSize: number;
  /** px */
  imageSize: number;
}

/** What steps took, each in ms, with the parts of each. */
export interface StepTimes {
  stepMs: number[];
  phasesMs: Record<Exclude<StepPhase, 'data'>, number[]>;
  /** Mean of the last step's pictures. */
  loss: number;
}

/** The trainer's own step over and over, on pictures of noise that lie ready in memory: what a machine needs for it beside loading. */
export class StepBench implements Disposable {
  readonly #model: Classifier;
  readonly #optimizer: Optimizer = new Adam();
  readonly #groups: readonly ParameterGroup[];
  readonly #batch: StepBatch;
  readonly #settings: StepSettings;

  /** @throws UserError for an architecture that is unknown */
  constructor({ architecture, kind, precision, batchSize, imageSize }: StepTask) {
    this.#model = createClassifier({ architecture, classCount: 2, head: 'linear', seed: 1 });
    if (kind === 'full') unfreeze(this.#model);
    else freeze(this.#model, { batchNorm: kind });
    this.#groups = [{ name: 'all', learningRate: 1e-4, parameters: this.#model.parameters().filter(({ trainable }) => trainable) }];
    const pixels = Float32Array.from({ length: batchSize * imageSize * imageSize * 3 }, () => 2 * Math.random() - 1);
    const count = (_: unknown, i: number) => i;
    this.#batch = { pixels, labels: Int32Array.from({ length: batchSize }, (_, i) => i % 2), indices: Int32Array.from({ length: batchSize }, count), rows: batchSize, epoch: 0, globalBatch: batchSize };
    this.#settings = { precision, labelSmoothing: 0, clipNorm: null, accumulate: 1, seed: 1, imageSize, syncBatchNorm: false };
  }

  /** @throws what the step throws: memory that runs out, above all */
  async run(steps: number, onStep: (done: number) => void = () => undefined, signal?: AbortSignal): Promise<StepTimes> {
    const times: StepTimes = { stepMs: [], phasesMs: { forward: [], backward: [], exchange: [], optimizer: [] }, loss: Number.NaN };
    for (let step = 0; step < steps; step++) {
      signal?.throwIfAborted();
      const start = performance.now(), began: [keyof StepTimes['phasesMs'], number][] = [];
      const { lossSum } = await trainStep(this.#batch, this.#groups, {
        model: this.#model, optimizer: this.#optimizer, exchange: alone, settings: this.#settings,
        onPhase: (phase) => phase !== 'data' && began.push([phase, performance.now()]),
      });
      const end = performance.now();
      times.stepMs.push(end - start);
      for (const [i, [phase, at]] of began.entries()) times.phasesMs[phase].push((began[i + 1]?.[1] ?? end) - at);
      times.loss = lossSum / this.#batch.rows;
      onStep(step + 1);
    }
    return times;
  }

  [Symbol.dispose](): void {
    this.#optimizer.dispose();
    this.#model.dispose();
  }
}

/** Begins a new peak of `peakBytes`. */
export function resetPeakBytes(): void {
  (engine().backend as { resetPeak?: () => void }).resetPeak?.();
}

/** The most that the backend's tensors and scratch took since `resetPeakBytes`; null where it doesn't count. */
export const peakBytes = (): number | null => (memory() as { peakBytes?: number }).peakBytes ?? null;
