import type { AcrossRanks, Classifier } from '@chameleon/core';
import { tidy } from '@tensorflow/tfjs-core';
import type { Exchange } from './exchange/exchange.js';
import type { StepPhase } from './training-step.js';

/** What a step needs for BatchNorm over the pictures of all ranks (`--sync-batch-norm`). */

/** How a pass's layers reach those of the other ranks. What they wait there counts as exchange, then the step is in `phase` again. */
export function acrossRanks(exchange: Exchange, counted: boolean, onPhase: (phase: StepPhase) => void): AcrossRanks & { phase: StepPhase } {
  const across: AcrossRanks & { phase: StepPhase } = {
    rank: exchange.rank, worldSize: exchange.worldSize, counted,
    phase: 'forward',
    sum: (values) => {
      onPhase('exchange');
      const sums = exchange.sumNow(values);
      onPhase(across.phase);
      return sums;
    },
  };
  return across;
}

/**
 * Runs what may be given up half-way, where others go away in the middle of a pass: then nothing of it is left behind. What the model holds
 * afterwards is its own.
 */
export function whole<T>(model: Classifier, run: () => T): T {
  let result!: T;
  try {
    tidy(() => {
      result = run();
      return [...model.parameters().flatMap(({ tensors }) => tensors), ...model.buffers().map(({ value }) => value)];
    });
  } catch (error) {
    // Their copies in another precision may have been made in what was given up.
    for (const parameter of model.parameters()) parameter.changed();
    throw error;
  }
  return result;
}

/**
 * BatchNorm's running statistics as they are before a step: a pass forward moves them, and a step that is not applied has not moved them.
 * One of the two has to be called.
 */
export function rememberStatistics(model: Classifier): { restore: () => void; forget: () => void } {
  const layers = model.batchNorms().filter((layer) => layer.usesBatchStatistics);
  const kept = layers.map((layer) => ({ layer, tracked: layer.batchesTracked, values: layer.buffers().map((buffer) => ({ buffer, value: buffer.value.clone() })) }));
  return {
    restore: () => {
      for (const { layer, tracked, values } of kept) {
        layer.batchesTracked = tracked;
        for (const { buffer, value } of values) buffer.replace(value);
      }
    },
    forget: () => {
      for (const { values } of kept) for (const { value } of values) value.dispose();
    },
  };
}
