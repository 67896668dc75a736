import { z } from 'zod';
import { UserError, nearest } from './errors.js';
import { type Classifier, STAGE_NAMES } from './models/classifier.js';
import { freeze, unfreeze } from './freezing.js';

/** A stretch of a run: how long, what learns, what BatchNorm does, and how fast each group learns. */
export const phaseSchema = z.strictObject({
  /** Epochs relative to the other phases': with more epochs in all the phases keep their proportion. */
  epochs: z.number().positive(),
  /** `head`: the body is frozen; `all`: everything learns; a stage's name: frozen up to and with that stage. */
  train: z.union([z.literal('head'), z.literal('all'), z.strictObject({ freezeUpTo: z.enum(STAGE_NAMES) })]),
  batchNorm: z.enum(['batch-stats', 'eval', 'batch-norm-only']),
  /** Factors on the learning rate for `head`, `body`, or a stage by its name, which wins over `body`. */
  rates: z.partialRecord(z.enum(['head', 'body', ...STAGE_NAMES]), z.number().nonnegative()).default({}),
});

export const recipeSchema = z.strictObject({
  name: z.string().min(1),
  description: z.string().default(''),
  head: z.enum(['linear', 'deep']),
  phases: z.array(phaseSchema).min(1),
});

export type Phase = z.infer<typeof phaseSchema>;
export type Recipe = z.infer<typeof recipeSchema>;

const slowBody = { body: 0.01, head: 1 };

/** The article's six recipes, and training from scratch, which is what a pretrained body is measured against. */
export const RECIPES: readonly Recipe[] = [
  {
    name: 'feature-extractor',
    description: "The frozen body as feature extractor; BatchNorm normalises with the batch's statistics.",
    head: 'linear',
    phases: [{ epochs: 1, train: 'head', batchNorm: 'batch-stats', rates: {} }],
  },
  {
    name: 'feature-extractor-bn-eval',
    description: 'The frozen body as feature extractor, BatchNorm in eval mode.',
    head: 'linear',
    phases: [{ epochs: 1, train: 'head', batchNorm: 'eval', rates: {} }],
  },
  {
    name: 'batch-norm-only',
    description: "The head and BatchNorm's scales and shifts learn, the filters are frozen.",
    head: 'linear',
    phases: [{ epochs: 1, train: 'head', batchNorm: 'batch-norm-only', rates: {} }],
  },
  {
    name: 'discriminative',
    description: 'Head and BatchNorm first; then everything, the body a hundred times slower than the head.',
    head: 'linear',
    phases: [
      { epochs: 1, train: 'head', batchNorm: 'batch-norm-only', rates: {} },
      { epochs: 1, train: 'all', batchNorm: 'batch-norm-only', rates: slowBody },
    ],
  },
  {
    name: 'discriminative-bn-eval',
    description: 'The head first; then everything but BatchNorm, which stays in eval mode throughout; the body a hundred times slower.',
    head: 'linear',
    phases: [
      { epochs: 1, train: 'head', batchNorm: 'eval', rates: {} },
      { epochs: 1, train: 'all', batchNorm: 'eval', rates: slowBody },
    ],
  },
  {
    name: 'deep-head',
    description: 'As discriminative, with average and max pooling concatenated and a hidden layer in the head.',
    head: 'deep',
    phases: [
      { epochs: 1, train: 'head', batchNorm: 'batch-norm-only', rates: {} },
      { epochs: 1, train: 'all', batchNorm: 'batch-norm-only', rates: slowBody },
    ],
  },
  {
    name: 'from-scratch',
    description: 'Everything learns from the first step at one rate: for random weights, or as the plain fine-tuning.',
    head: 'linear',
    phases: [{ epochs: 1, train: 'all', batchNorm: 'batch-norm-only', rates: {} }],
  },
];

/** The recipes of the article's table. */
export const articleRecipeNames = RECIPES.map(({ name }) => name).filter((name) => name !== 'from-scratch');

export function findRecipe(name: string): Recipe {
  const found = RECIPES.find((recipe) => recipe.name === name);
  if (found) return found;
  const names = RECIPES.map((recipe) => recipe.name);
  const near = nearest(name, names);
  throw new UserError(`There is no recipe called ${name}. ${near ? `Did you mean ${near}? ` : ''}Choose one of ${names.join(', ')}, or pass a YAML file.`, { exitCode: 2 });
}

/** The index of the phase that an epoch (from 0) of `epochCount` belongs to. */
export function phaseIndexAt(recipe: Recipe, epoch: number, epochCount: number): number {
  const total = recipe.phases.reduce((sum, phase) => sum + phase.epochs, 0);
  let end = 0;
  for (const [index, phase] of recipe.phases.entries()) {
    end += phase.epochs;
    if (epoch < Math.floor((end / total) * epochCount + 1e-9)) return index;
  }
  return recipe.phases.length - 1;
}

/** Sets what learns and what BatchNorm does. Idempotent. */
export function applyPhase(model: Classifier, { train, batchNorm }: Phase): void {
  if (train === 'all') unfreeze(model, { batchNorm });
  else freeze(model, train === 'head' ? { batchNorm } : { upTo: train.freezeUpTo, batchNorm });
}

/** The factor on the learning rate for a parameter of a stage. */
export function rateFactor({ rates }: Phase, stage: (typeof STAGE_NAMES)[number]): number {
  return rates[stage] ?? rates[stage === 'fc' ? 'head' : 'body'] ?? 1;
}
