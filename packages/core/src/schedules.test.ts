import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Schedule, scheduleFactor, scheduleKinds, scheduleSchema } from './schedules.js';

const factors = (schedule: Schedule, stepCount: number, stepsPerEpoch = 3) => Array.from({ length: stepCount }, (_, step) => scheduleFactor(schedule, { step, stepCount, stepsPerEpoch }));

/**
 * The rates that torch.optim.lr_scheduler (1.13) gives for a rate of 1, by `scheduler.step()` after each step: the
 * comment is the scheduler's constructor.
 */
const TORCH: [schedule: Schedule, rates: number[]][] = [
  // StepLR(optimizer, step_size=6, gamma=0.1), where an epoch has 3 steps
  [{ kind: 'step', everyEpochs: 2, factor: 0.1 }, [1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01]],
  // CosineAnnealingLR(optimizer, T_max=10)
  [{ kind: 'cosine', warmUp: 0 }, [1, 0.975528258148, 0.904508497187, 0.793892626146, 0.654508497187, 0.5, 0.345491502813, 0.206107373854, 0.0954915028125, 0.0244717418524]],
  // SequentialLR(optimizer, [LinearLR(optimizer, 1 / 5, 1, 4), CosineAnnealingLR(optimizer, 8)], milestones=[4])
  [{ kind: 'cosine', warmUp: 0.34 }, [0.2, 0.4, 0.6, 0.8, 1, 0.961939766256, 0.853553390593, 0.691341716183, 0.5, 0.308658283817, 0.146446609407, 0.0380602337444]],
  // OneCycleLR(optimizer, max_lr=1, total_steps=14, pct_start=0.3)
  [{ kind: 'one-cycle', warmUp: 0.3 }, [0.04, 0.253326288151, 0.703688047535, 0.990776934594, 0.98364749693, 0.91904437627, 0.81174565395, 0.672683836481, 0.516027724683, 0.35773877574, 0.213944814172, 0.0992967918933, 0.0254760246062, 4e-6]],
];

describe('a schedule', () => {
  it.each(TORCH)("gives PyTorch's rates: %o", (schedule, rates) => {
    factors(schedule, rates.length).forEach((factor, step) => expect(factor).toBeCloseTo(rates[step]!, 9));
  });

  it('that is constant is 1 throughout', () => {
    expect(new Set(factors({ kind: 'constant' }, 9))).toEqual(new Set([1]));
  });

  it('of any kind stays within 0 and 1, whatever the run', () => {
    const any = fc.constantFrom(...scheduleKinds).map((kind) => scheduleSchema.parse({ kind }));
    fc.assert(fc.property(any, fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 20 }), (schedule, stepCount, stepsPerEpoch) => {
      for (const factor of factors(schedule, stepCount, stepsPerEpoch)) {
        expect(factor).toBeGreaterThan(0);
        expect(factor).toBeLessThanOrEqual(1);
      }
    }));
  });

  it('has a default for each of its numbers, and refuses those that mean nothing', () => {
    expect(scheduleSchema.parse({ kind: 'one-cycle' })).toEqual({ kind: 'one-cycle', warmUp: 0.3 });
    for (const wrong of [{ kind: 'one-cycle', warmUp: 0 }, { kind: 'step', factor: -1 }, { kind: 'linear' }, { kind: 'constant', warmUp: 1 }]) expect(scheduleSchema.safeParse(wrong).success).toBe(false);
  });
});
