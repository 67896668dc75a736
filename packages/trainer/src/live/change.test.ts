import { findRecipe, type ParameterGroup } from '@chameleon/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AskedChange, type Change, type TakenChange, changedPhase, changedRates, groupNames, hasHeard, nextChange } from './change.js';

const unfreeze: Change = { kind: 'unfreeze' };
const setRate = (group: string, learningRate: number): Change => ({ kind: 'set-rate', group, learningRate });
const group = (name: string, learningRate: number): ParameterGroup => ({ name, learningRate, parameters: [] });
const run = { stepCount: 100, stepsPerEpoch: 10 };

describe('a change of a live run', () => {
  it('waits until every rank has heard of it, and is taken at its step again when steps are done again', () => {
    const asked: AskedChange[] = [{ step: null, change: unfreeze }];
    expect(nextChange(asked, [], { step: 5, heardBy: 1, worldSize: 2 })).toBeUndefined();
    expect(nextChange(asked, [], { step: 5, heardBy: 2, worldSize: 2 })).toEqual(unfreeze);
    const named: AskedChange[] = [{ step: 7, change: unfreeze }];
    expect(nextChange(named, [], { step: 6, heardBy: 2, worldSize: 2 })).toBeUndefined();
    expect(nextChange(named, [], { step: 7, heardBy: 0, worldSize: 2 })).toEqual(unfreeze);
    expect([hasHeard(asked, []), hasHeard(named, []), hasHeard(asked, [{ step: 5, change: unfreeze }])]).toEqual([true, false, false]);
  });

  it('is taken by all ranks after the same step, in order and once, whenever each of them hears of it and wherever the run goes back to', () => {
    const scenario = fc.record({
      worldSize: fc.integer({ min: 1, max: 4 }),
      delays: fc.array(fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 4, maxLength: 4 }), { minLength: 1, maxLength: 5 }),
      back: fc.option(fc.record({ at: fc.integer({ min: 1, max: 30 }), to: fc.integer({ min: 0, max: 29 }) })),
    });
    fc.assert(fc.property(scenario, ({ worldSize, delays, back }) => {
      const changes = delays.map((_, i) => setRate('head', i + 1));
      const steps: (number | null)[] = changes.map(() => null);
      let taken: TakenChange[][] = Array.from({ length: worldSize }, () => []);
      const first: TakenChange[] = [];
      let wentBack = false;
      for (let step = 1; step <= 40; step++) {
        // What a rank has heard of so far: a prefix of the list, as the messages come in order.
        const asked = taken.map((_, rank) => {
          const count = changes.findIndex((__, i) => delays.slice(0, i + 1).some((delay) => delay[rank]! > step));
          return changes.slice(0, count === -1 ? undefined : count).map((change, i): AskedChange => ({ step: wentBack ? steps[i]! : null, change }));
        });
        const heardBy = asked.filter((own, rank) => hasHeard(own, taken[rank]!)).length;
        const next = asked.map((own, rank) => nextChange(own, taken[rank]!, { step, heardBy, worldSize }));
        expect(new Set(next.map((change) => JSON.stringify(change))).size).toBe(1);
        if (next[0]) {
          const at = taken[0]!.length;
          steps[at] ??= step;
          first[at] ??= { step, change: next[0] };
          taken = taken.map((own) => [...own, { step, change: next[0]! }]);
        }
        if (back && !wentBack && step === back.at && back.to < step) {
          wentBack = true;
          taken = taken.map((own) => own.filter((change) => change.step <= back.to));
          step = back.to;
        }
      }
      expect(taken[0]).toEqual(changes.map((change, i) => ({ step: steps[i], change })));
      expect(taken[0]).toEqual(first);
    }));
  });

  it('unfreezes with the rates of the phase that would have done it, or with a slow body where the recipe has none', () => {
    const taken = [{ change: unfreeze }];
    const discriminative = findRecipe('discriminative'), extractor = findRecipe('feature-extractor-bn-eval');
    expect(changedPhase(discriminative, 0, [])).toBe(discriminative.phases[0]);
    expect(changedPhase(discriminative, 0, taken)).toBe(discriminative.phases[1]);
    expect(changedPhase(extractor, 0, taken)).toEqual({ ...extractor.phases[0], train: 'all', rates: { body: 0.01 } });
  });

  it('sets a rate at its step, follows the schedule from there, and the last one set counts', () => {
    const cosine = { kind: 'cosine', warmUp: 0 } as const;
    const taken: TakenChange[] = [{ step: 10, change: setRate('head', 1) }, { step: 50, change: setRate('head', 0.2) }];
    const at = (step: number, changes = taken) => changedRates([group('head', 0.5), group('body', 0.005)], changes, cosine, { ...run, step }).map(({ learningRate }) => learningRate);
    expect(at(50)).toEqual([0.2, 0.005]);
    expect(at(75)[0]).toBeCloseTo(0.2 * (1 + Math.cos(0.75 * Math.PI)) / (1 + Math.cos(0.5 * Math.PI)), 12);
    expect(at(20, taken.slice(0, 1))[0]).toBeLessThan(1);
    expect(changedRates([group('head', 0.5)], taken, { kind: 'constant' }, { ...run, step: 99 })[0]!.learningRate).toBe(0.2);
  });

  it('names the groups that a recipe can have', () => {
    expect(groupNames(findRecipe('discriminative'))).toEqual(['body', 'head']);
    expect(groupNames({ ...findRecipe('discriminative'), phases: [{ epochs: 1, train: 'all', batchNorm: 'eval', rates: { layer4: 0.1 } }] })).toEqual(['layer4', 'body', 'head']);
  });
});
