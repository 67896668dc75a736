import { epochOrder, stepCount } from '@chameleon/data';
import { expect } from 'vitest';
import type { TrainConfig } from '../config.js';
import type { RunEvent } from '../events.js';
import { sampleHash } from '../training-step.js';

/** Every step was applied once, every picture counted once an epoch by what the ranks said that they took, all ranks held the same weights, and the run ended once. */
export function expectLedger(events: readonly RunEvent[], trainCount: number, { seed, batchSize, epochs }: Pick<TrainConfig, 'seed' | 'batchSize' | 'epochs'>): void {
  const perEpoch = stepCount(trainCount, batchSize, false);
  const steps = events.filter((event) => event.type === 'step');
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: epochs * perEpoch }, (_, i) => i + 1));
  for (const { step, epoch, pictures, samples } of steps) {
    const from = (step - 1 - epoch * perEpoch) * batchSize;
    const expected = epochOrder(trainCount, seed, epoch).subarray(from, from + batchSize);
    expect({ step, pictures, samples }).toEqual({ step, pictures: expected.length, samples: expected.reduce((sum, index) => sum + sampleHash(epoch, index), 0) });
  }
  const rows = events.filter((event) => event.type === 'epoch');
  expect(rows.map(({ epoch, replicasEqual }) => ({ epoch, replicasEqual }))).toEqual(Array.from({ length: epochs }, (_, epoch) => ({ epoch, replicasEqual: true })));
  expect(events.filter((event) => event.type === 'finish')).toMatchObject([{ reason: 'done' }]);
}
