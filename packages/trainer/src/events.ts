import { z } from 'zod';
import { changeSchema } from './live/change.js';

/** One fact of a run, a line of `events.jsonl`. `time` is ISO 8601. */
const fact = <Kind extends string, Shape extends z.ZodRawShape>(type: Kind, shape: Shape) => z.object({ type: z.literal(type), time: z.iso.datetime(), ...shape });

const rates = z.record(z.string(), z.number());
const number = z.union([z.number(), z.null().transform(() => Number.NaN)]);

export const runEventSchema = z.discriminatedUnion('type', [
  fact('start', { trainCount: z.number(), validCount: z.number(), classes: z.array(z.string()), stepCount: z.number(), backend: z.string() }),
  fact('resume', { step: z.number(), epoch: z.number() }),
  fact('skip', { path: z.string(), reason: z.string() }),
  fact('phase', { phase: z.number(), epoch: z.number(), trainable: z.number(), batchNorm: z.string() }),
  /** A run over several machines goes on with these members, in order of rank, from the state after `step`. */
  fact('generation', { generation: z.number(), step: z.number(), epoch: z.number(), workers: z.array(z.string()), split: z.array(z.number()), reason: z.string() }),
  /** `step` counts from 1: steps applied. Loss is the mean over the step's pictures; `samples` the sum of their `sampleHash`. */
  fact('step', { step: z.number(), epoch: z.number(), loss: number, correct: z.number(), pictures: z.number(), samples: z.number().optional(), learningRates: rates, dataSeconds: z.number(), computeSeconds: z.number() }),
  fact('epoch', { epoch: z.number(), step: z.number(), trainLoss: number, trainAccuracy: z.number(), validLoss: number, validAccuracy: z.number(), seconds: z.number(), picturesPerSecond: z.number(), learningRates: rates, /** Whether all ranks held the same weights, bit for bit. */ replicasEqual: z.boolean().optional() }),
  fact('checkpoint', { step: z.number(), epoch: z.number(), best: z.boolean() }),
  fact('command', { command: z.string(), detail: z.record(z.string(), z.unknown()) }),
  /** A setting that somebody changed, after this step; `id` counts the run's changes from 1. */
  fact('change', { id: z.number(), step: z.number(), epoch: z.number(), change: changeSchema }),
  fact('fault', { message: z.string() }),
  fact('finish', { step: z.number(), validAccuracy: number, seconds: z.number(), reason: z.enum(['done', 'stopped early', 'interrupted']) }),
]);

export type RunEvent = z.infer<typeof runEventSchema>;
/** An event without its time, which whoever writes it adds. */
export type NewEvent = RunEvent extends infer E ? (E extends RunEvent ? Omit<E, 'time'> : never) : never;

/** The facts in a log's text. A last line that a crash cut off is left out. @throws when another line isn't a fact */
export function parseEvents(text: string): RunEvent[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.flatMap((line, i) => {
    try {
      return [runEventSchema.parse(JSON.parse(line))];
    } catch (error) {
      if (i === lines.length - 1) return [];
      throw new Error(`line ${i + 1} of events.jsonl is not a fact of a run`, { cause: error });
    }
  });
}

/**
 * The facts as they count after resuming: a run that went back to a checkpoint, or to the newest state of the workers that
 * are left, did some steps again, and its first words about them are taken back.
 */
export function effectiveEvents(events: readonly RunEvent[]): RunEvent[] {
  let kept: RunEvent[] = [];
  for (const event of events) {
    if (event.type === 'resume' || event.type === 'generation') kept = kept.filter((earlier) => !isAfter(earlier, event));
    kept.push(event);
  }
  return kept;
}

function isAfter(event: RunEvent, { step, epoch }: { step: number; epoch: number }): boolean {
  return ((event.type === 'step' || event.type === 'change') && event.step > step) || (event.type === 'epoch' && (event.step > step || event.epoch >= epoch)) || event.type === 'finish';
}
