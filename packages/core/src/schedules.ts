import { z } from 'zod';

/** The learning rate over a run, as a factor on the rate that was asked for. */
export const scheduleSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('constant') }),
  /** torch.optim.lr_scheduler.StepLR: times `factor` after each `everyEpochs`. */
  z.strictObject({ kind: z.literal('step'), everyEpochs: z.number().positive().default(1), factor: z.number().positive().default(0.1) }),
  /** A linear rise over the first steps, then half a cosine to zero (Loshchilov and Hutter, 2017). */
  z.strictObject({ kind: z.literal('cosine'), warmUp: z.number().min(0).max(1).default(0.1) }),
  /** One cycle (Smith, 2018), as torch.optim.lr_scheduler.OneCycleLR: up to the rate asked for, down to a 10,000th of the start. */
  z.strictObject({ kind: z.literal('one-cycle'), warmUp: z.number().gt(0).lt(1).default(0.3) }),
]);

export type Schedule = z.infer<typeof scheduleSchema>;
export const scheduleKinds = ['constant', 'step', 'cosine', 'one-cycle'] as const;

export interface SchedulePosition {
  /** Steps done before this one, over the whole run. */
  step: number;
  stepCount: number;
  stepsPerEpoch: number;
}

const cosine = (from: number, to: number, progress: number): number => to + ((from - to) * (1 + Math.cos(Math.PI * progress))) / 2;

/** The factor for the step at this position. */
export function scheduleFactor(schedule: Schedule, { step, stepCount, stepsPerEpoch }: SchedulePosition): number {
  switch (schedule.kind) {
    case 'constant':
      return 1;
    case 'step':
      return schedule.factor ** Math.floor(step / stepsPerEpoch / schedule.everyEpochs + 1e-9);
    case 'cosine': {
      const rise = Math.floor(schedule.warmUp * stepCount);
      return step < rise ? (step + 1) / (rise + 1) : cosine(1, 0, (step - rise) / Math.max(1, stepCount - rise));
    }
    case 'one-cycle': {
      const start = 1 / 25, end = start / 1e4;
      const top = Math.max(1, schedule.warmUp * stepCount - 1), last = Math.max(top + 1, stepCount - 1);
      return step <= top ? cosine(start, 1, step / top) : cosine(1, end, Math.min(1, (step - top) / (last - top)));
    }
    default:
      return schedule satisfies never;
  }
}
