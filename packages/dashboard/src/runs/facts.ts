import { z } from 'zod';
import type { StepFact } from './step-curve.js';

/** The lines of a run's `events.jsonl` as the dashboard needs them. Kinds that it doesn't know are passed over: the trainer may have new ones. */
const time = { time: z.iso.datetime() };
const number = z.union([z.number(), z.null().transform(() => Number.NaN)]);

const factSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('start'), ...time, trainCount: z.number(), validCount: z.number(), classes: z.array(z.string()), stepCount: z.number() }),
  z.object({ type: z.literal('resume'), ...time, step: z.number(), epoch: z.number() }),
  z.object({ type: z.literal('skip'), ...time, path: z.string() }),
  z.object({ type: z.literal('phase'), ...time, phase: z.number(), epoch: z.number(), batchNorm: z.string(), trainable: z.number() }),
  z.object({ type: z.literal('epoch'), ...time, epoch: z.number(), step: z.number(), trainLoss: number, trainAccuracy: z.number(), validLoss: number, validAccuracy: z.number(), picturesPerSecond: z.number(), learningRates: z.record(z.string(), z.number()) }),
  z.object({ type: z.literal('checkpoint'), ...time, step: z.number() }),
  z.object({ type: z.literal('command'), ...time, command: z.string(), detail: z.record(z.string(), z.unknown()) }),
  z.object({ type: z.literal('change'), ...time, id: z.number(), step: z.number(), change: z.discriminatedUnion('kind', [z.object({ kind: z.literal('unfreeze') }), z.object({ kind: z.literal('set-rate'), group: z.string(), learningRate: z.number() })]) }),
  z.object({ type: z.literal('generation'), ...time, generation: z.number(), step: z.number(), epoch: z.number(), workers: z.array(z.string()), reason: z.string() }),
  z.object({ type: z.literal('fault'), ...time, message: z.string() }),
  z.object({ type: z.literal('finish'), ...time, step: z.number(), reason: z.string() }),
]);

export type Fact = z.infer<typeof factSchema> | ({ type: 'step' } & StepFact) | { type: 'other' };

const KNOWN = new Set<string>(factSchema.options.map((option) => option.shape.type.value));

/** A line's fact; null where it is none. Steps are checked by hand: there may be millions. */
export function readFact(line: string): Fact | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || !('type' in value) || typeof value.type !== 'string') return null;
  if (value.type === 'step') return readStep(value as Record<string, unknown>);
  if (!KNOWN.has(value.type)) return { type: 'other' };
  return factSchema.safeParse(value).data ?? null;
}

function readStep({ step, loss, correct, pictures, time: text }: Record<string, unknown>): Fact | null {
  if (typeof step !== 'number' || !Number.isInteger(step) || step < 1 || (typeof loss !== 'number' && loss !== null)) return null;
  const atMs = Date.parse(String(text));
  if (Number.isNaN(atMs)) return null;
  return { type: 'step', step, loss: loss ?? Number.NaN, correct: Number(correct ?? 0), pictures: Number(pictures ?? 0), atMs };
}
