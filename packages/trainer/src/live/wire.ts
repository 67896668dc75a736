import type { Change as WireChange } from '../generated/chameleon/trainer/v1/trainer.js';
import type { AskedChange } from './change.js';

/** Changes as messages. */
export const toWire = (changes: readonly AskedChange[]): WireChange[] =>
  changes.map(({ step, change }) => ({ step: step ?? undefined, kind: change.kind === 'unfreeze' ? { $case: 'unfreeze', value: {} } : { $case: 'setRate', value: { group: change.group, learningRate: change.learningRate } } }));

/** @throws Error for a kind that this version doesn't know: ranks may not differ in what they train */
export const fromWire = (changes: readonly WireChange[]): AskedChange[] =>
  changes.map(({ step, kind }) => {
    if (!kind) throw new Error('a change of a kind that this worker does not know');
    return { step: step ?? null, change: kind.$case === 'unfreeze' ? { kind: 'unfreeze' } : { kind: 'set-rate', ...kind.value } };
  });
