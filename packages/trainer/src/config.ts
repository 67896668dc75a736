import { type Recipe, UserError, recipeSchema, scheduleSchema } from '@chameleon/core';
import { DEFAULT_AUGMENTATION } from '@chameleon/data';
import { z } from 'zod';

const range = (low: number, high: number) => z.tuple([z.number().min(low).max(high), z.number().min(low).max(high)]).refine(([from, to]) => from <= to, 'from is above to');

export const augmentationSchema = z.strictObject({
  crop: z.enum(['random-resized', 'center']).default(DEFAULT_AUGMENTATION.crop),
  scale: range(0, 1).default([...DEFAULT_AUGMENTATION.scale]),
  ratio: range(0.01, 100).default([...DEFAULT_AUGMENTATION.ratio]),
  flip: z.boolean().default(true),
  colorJitter: z.strictObject({ brightness: z.number().min(0), contrast: z.number().min(0), saturation: z.number().min(0), hue: z.number().min(0).max(0.5) }).nullable().default(null),
});

/** All that decides how a run goes: what `run.yaml` holds. The same configuration, data and weights give the same run. */
export const trainConfigSchema = z.strictObject({
  data: z.string().min(1),
  /** A file, a name that `chameleon weights list` knows, or `random`. */
  weights: z.string().min(1).default('embedded'),
  architecture: z.string().min(1),
  recipe: recipeSchema,
  epochs: z.number().int().min(1).max(10_000).default(4),
  /** Of the whole run, over all machines. */
  batchSize: z.number().int().min(1).max(1_048_576).default(16),
  /** Micro-batches that a step's batch is computed in, their gradients added. */
  accumulate: z.number().int().min(1).max(4096).default(1),
  /** Whether BatchNorm takes a batch's statistics over the pictures of all workers; else each worker over its own. */
  syncBatchNorm: z.boolean().default(false),
  /** px */
  imageSize: z.number().int().min(16).max(2048).default(224),
  optimizer: z.enum(['adam', 'adamw', 'sgd']).default('adam'),
  learningRate: z.number().positive().max(1000).default(1e-3),
  momentum: z.number().min(0).lt(1).default(0.9),
  weightDecay: z.number().min(0).default(0),
  schedule: scheduleSchema.default({ kind: 'constant' }),
  labelSmoothing: z.number().min(0).lt(1).default(0),
  /** The largest norm of all gradients together; null: not clipped. */
  clipNorm: z.number().positive().nullable().default(null),
  /** Epochs without a better validation accuracy after which the run ends; null: never. */
  patience: z.number().int().min(1).nullable().default(null),
  seed: z.number().int().min(0).max(0xffffffff).default(0),
  precision: z.enum(['float32', 'bfloat16']).default('float32'),
  split: z.enum(['auto', 'article', 'stratified', 'folders']).default('auto'),
  validFraction: z.number().gt(0).lt(1).default(0.2),
  augmentation: augmentationSchema.default({ ...DEFAULT_AUGMENTATION, scale: [...DEFAULT_AUGMENTATION.scale], ratio: [...DEFAULT_AUGMENTATION.ratio] }),
  /** Leaves out an epoch's last batch when it isn't full. */
  dropLast: z.boolean().default(false),
  skipBadImages: z.boolean().default(false),
  /** Newest checkpoints that are kept beside the best. */
  keepCheckpoints: z.number().int().min(1).default(2),
  /** Steps between checkpoints inside an epoch; one is always left at an epoch's end. null: only there. */
  checkpointEvery: z.number().int().min(1).nullable().default(null),
});

export type TrainConfig = z.infer<typeof trainConfigSchema>;

/**
 * A checked configuration. `recipe` decides what isn't said: the deeper head has BatchNorm of its own, which can't
 * normalise a last batch of one picture, so that batch is left out.
 * @throws UserError that names each wrong setting
 */
export function parseConfig(given: z.input<typeof trainConfigSchema>): TrainConfig {
  const parsed = trainConfigSchema.safeParse({ dropLast: (given.recipe as Recipe | undefined)?.head === 'deep', ...given });
  if (parsed.success) {
    if (parsed.data.accumulate > parsed.data.batchSize) throw new UserError(`A batch of ${parsed.data.batchSize} pictures can't be computed in ${parsed.data.accumulate} parts. Lower accumulate.`, { exitCode: 2 });
    return parsed.data;
  }
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`);
  throw new UserError(`The configuration is wrong. ${problems.join('; ')}.`, { exitCode: 2, cause: parsed.error });
}
