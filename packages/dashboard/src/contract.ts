import { z } from 'zod';
import { QUERY_NAMES } from './queries/catalogue.js';

/** What the page and its server say to each other, checked where it enters on either side. */

/** A value at a moment; null for none. JSON has no other numbers than finite ones. */
export const wireValue = z.union([z.number(), z.null(), z.enum(['NaN', '+Inf', '-Inf'])]).transform((value): number | null => (typeof value === 'string' ? Number(value.replace('Inf', 'Infinity')) : value));
export type WireValue = z.input<typeof wireValue>;

const labels = z.record(z.string(), z.string());

export const lineSchema = z.object({
  labels,
  values: z.array(wireValue),
  /** The least and the greatest of each step, where a step has several scrapes. */
  low: z.array(wireValue).optional(),
  high: z.array(wireValue).optional(),
});
export type Line = z.output<typeof lineSchema>;

export const querySchema = z.object({
  name: z.enum(QUERY_NAMES),
  run: z.string().max(200).optional(),
  model: z.string().max(200).optional(),
  startMs: z.coerce.number().int().min(0).max(1e14),
  endMs: z.coerce.number().int().min(0).max(1e14),
  stepMs: z.coerce.number().int().min(100).max(1e10),
}).refine(({ startMs, endMs }) => startMs <= endMs, 'the end is before the start').refine(({ startMs, endMs, stepMs }) => (endMs - startMs) / stepMs <= 5_000, 'more than 5,000 moments');

/** Lines over the moments `startMs + i * stepMs`. */
export const queryAnswerSchema = z.object({ startMs: z.number(), stepMs: z.number(), count: z.number(), lines: z.array(lineSchema) });
export type QueryAnswer = z.output<typeof queryAnswerSchema>;

export const targetSchema = z.object({
  job: z.string(),
  instance: z.string(),
  url: z.string(),
  health: z.enum(['up', 'down', 'unknown']),
  /** Why it is down; empty while it is up. */
  error: z.string(),
  /** ms since 1970; null where it never answered, or nobody knows. */
  answeredAtMs: z.number().nullable(),
});
export type TargetState = z.infer<typeof targetSchema>;

export const alertSchema = z.object({ name: z.string(), severity: z.string(), summary: z.string(), labels });
export type Alert = z.infer<typeof alertSchema>;

export const sessionSchema = z.object({
  user: z.string(),
  rights: z.array(z.enum(['read', 'operate'])),
  csrfToken: z.string(),
  source: z.object({ kind: z.enum(['embedded', 'prometheus']), url: z.string(), intervalMs: z.number() }),
  hasRuns: z.boolean(),
  /** What may be asked of a live run. */
  commands: z.array(z.enum(['stop', 'checkpoint', 'unfreeze', 'set-rate'])),
});
export type Session = z.infer<typeof sessionSchema>;
export type Right = Session['rights'][number];
export type CommandName = Session['commands'][number];
/** What is asked of a live run. */
export const runCommandSchema = z.discriminatedUnion('name', [
  z.object({ name: z.literal('stop') }),
  z.object({ name: z.literal('checkpoint') }),
  z.object({ name: z.literal('unfreeze') }),
  z.object({ name: z.literal('set-rate'), group: z.string().min(1).max(100), learningRate: z.number('a number is needed').positive('it has to be above 0') }),
]);
export type RunCommand = z.infer<typeof runCommandSchema>;

/** What may be changed of a live run, as its coordinator says. */
export const liveSettingsSchema = z.object({
  /** `learningRate`: of the last step; null where the group did not learn in it. */
  groups: z.array(z.object({ name: z.string(), learningRate: z.number().nullable() })),
  unfrozen: z.boolean(),
  /** Changes that the ranks have not taken yet. */
  waiting: z.number(),
});
export type LiveSettings = z.infer<typeof liveSettingsSchema>;

/** `problems`: what the server itself can't do now, as to keep scrapes on a full disk. */
export const overviewSchema = z.object({ nowMs: z.number(), targets: z.array(targetSchema), alerts: z.array(alertSchema), problems: z.array(z.string()) });

export const runSummarySchema = z.object({
  id: z.string(),
  state: z.enum(['running', 'done', 'stopped early', 'interrupted', 'failed', 'silent', 'empty']),
  recipe: z.string(),
  architecture: z.string(),
  data: z.string(),
  startedAtMs: z.number().nullable(),
  /** When something was last written down. */
  changedAtMs: z.number(),
  step: z.number(),
  /** Of the whole run; null until it has begun. */
  stepCount: z.number().nullable(),
  /** Of the epochs so far; null before the first. */
  bestAccuracy: z.number().nullable(),
});
export type RunSummary = z.infer<typeof runSummarySchema>;
export const runListSchema = z.object({ runs: z.array(runSummarySchema), total: z.number() });

export const epochRowSchema = z.object({ epoch: z.number(), step: z.number(), atMs: z.number(), trainLoss: wireValue, trainAccuracy: z.number(), validLoss: wireValue, validAccuracy: z.number(), picturesPerSecond: z.number(), learningRates: z.record(z.string(), z.number()) });
export type EpochRow = z.output<typeof epochRowSchema>;
export const markSchema = z.object({ step: z.number(), atMs: z.number(), kind: z.enum(['phase', 'resume', 'fault', 'command', 'change', 'finish', 'generation']), text: z.string() });
export type Mark = z.infer<typeof markSchema>;

export const runDetailSchema = z.object({
  summary: runSummarySchema,
  /** Nested settings as `recipe.name`. */
  config: z.record(z.string(), z.string()),
  machine: z.record(z.string(), z.string()),
  classes: z.array(z.string()),
  trainCount: z.number(),
  validCount: z.number(),
  epochs: z.array(epochRowSchema),
  marks: z.array(markSchema),
  checkpointAtMs: z.number().nullable(),
  skippedCount: z.number(),
  /** Below 1 while a long record is still being read. */
  readShare: z.number(),
  /** Lines that are no facts of a run. */
  brokenLines: z.number(),
});
export type RunDetail = z.infer<typeof runDetailSchema>;

/** Points over steps; `low` and `high` are the least and greatest loss of each stretch. */
export const curveSchema = z.object({ steps: z.array(z.number()), atMs: z.array(z.number()), loss: z.array(wireValue), low: z.array(wireValue), high: z.array(wireValue), accuracy: z.array(wireValue), stepsPerPoint: z.number(), readShare: z.number() });
export type Curve = z.output<typeof curveSchema>;

export const mistakesSchema = z.object({
  classes: z.array(z.string()),
  judgedCount: z.number(),
  wrongCount: z.number(),
  /** Cells with pictures in them: true class, told class, how many. */
  cells: z.array(z.tuple([z.number(), z.number(), z.number()])),
  mistakes: z.array(z.object({ index: z.number(), path: z.string(), label: z.number(), told: z.number(), probability: z.number(), hasPicture: z.boolean() })),
  /** Whether a server that is watched serves this run's model, so that heat maps can be had. */
  heatMaps: z.boolean(),
});
export type Mistakes = z.infer<typeof mistakesSchema>;

export const experimentsSchema = z.object({
  title: z.string(), dataset: z.string(), architecture: z.string(), epochs: z.number(), command: z.string(),
  rows: z.array(z.object({ recipe: z.string(), mean: z.number(), low: z.number(), high: z.number(), count: z.number(), article: z.number().nullable() })),
});
export const experimentListSchema = z.object({ experiments: z.array(experimentsSchema) });

/** What comes over server-sent events: `tick` after each round of scrapes, `steps` as a run writes them down. */
export const liveStepsSchema = z.object({ run: z.string(), step: z.number(), loss: wireValue });

/** RFC 9457. */
export const problemSchema = z.object({ title: z.string(), status: z.number(), detail: z.string() });
