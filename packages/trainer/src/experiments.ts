import { type Recipe, articleRecipeNames, findRecipe } from '@chameleon/core';
import { type Dataset, PictureLoader } from '@chameleon/data';
import { START } from './checkpoint.js';
import type { TrainConfig } from './config.js';
import { alone } from './exchange/exchange.js';
import { createOptimizer, fit } from './fit.js';
import { type StartWeights, startModel } from './train.js';

export interface ExperimentPlan {
  /** Everything but recipe and seed. */
  base: TrainConfig;
  recipes: readonly Recipe[];
  seeds: readonly number[];
}

export interface ExperimentRun {
  recipe: string;
  seed: number;
  /** Validation accuracy after the last epoch, as in the article's table. */
  accuracy: number;
  seconds: number;
}

export const articleRecipes = (): Recipe[] => articleRecipeNames.map(findRecipe);

/**
 * Trains every recipe with every seed on the same data, one after the other, and gives each run as it ends. Nothing is
 * kept of a run but its last accuracy; the deeper head's last batch is left out as in a single run.
 */
export async function* runExperiments({ base, recipes, seeds }: ExperimentPlan, dataset: Dataset, weights: StartWeights, { signal, workers }: { signal: AbortSignal; workers?: number }): AsyncGenerator<ExperimentRun> {
  await using loader = new PictureLoader(dataset, { imageSize: base.imageSize, onBadPicture: base.skipBadImages ? 'skip' : 'throw', ...(workers ? { workers } : {}) });
  for (const recipe of recipes) {
    for (const seed of seeds) {
      signal.throwIfAborted();
      const config: TrainConfig = { ...base, recipe, seed, dropLast: base.dropLast || recipe.head === 'deep' };
      const started = performance.now();
      const model = startModel(config, dataset.classes.length, weights);
      const optimizer = createOptimizer(config);
      try {
        const { validAccuracy } = await fit({ config, dataset, model, optimizer, loader, exchange: alone, start: START, signal, emit: () => Promise.resolve(), checkpoint: () => Promise.resolve() });
        signal.throwIfAborted();
        yield { recipe: recipe.name, seed, accuracy: validAccuracy, seconds: (performance.now() - started) / 1000 };
      } finally {
        optimizer.dispose();
        model.dispose();
      }
    }
  }
}
