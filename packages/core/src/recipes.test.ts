import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { STAGE_NAMES } from './models/classifier.js';
import { RECIPES, type Recipe, applyPhase, articleRecipeNames, findRecipe, phaseIndexAt, rateFactor, recipeSchema } from './recipes.js';
import { tinyClassifier } from './testing/tiny.js';
import { useBackend } from './testing/engine.js';

beforeAll(() => useBackend('libtorch'));

const recipeOf = (...epochs: number[]): Recipe => recipeSchema.parse({ name: 'test', head: 'linear', phases: epochs.map((n) => ({ epochs: n, train: 'head', batchNorm: 'eval' })) });
const phasesOver = (recipe: Recipe, epochCount: number) => Array.from({ length: epochCount }, (_, epoch) => phaseIndexAt(recipe, epoch, epochCount));

describe('the phases of a run', () => {
  it('keep their proportion with more epochs', () => {
    expect(phasesOver(findRecipe('discriminative'), 2)).toEqual([0, 1]);
    expect(phasesOver(findRecipe('discriminative'), 5)).toEqual([0, 0, 1, 1, 1]);
    expect(phasesOver(recipeOf(1, 2, 1), 8)).toEqual([0, 0, 1, 1, 1, 1, 2, 2]);
    expect(phasesOver(recipeOf(1, 1), 1)).toEqual([1]);
  });

  it('come in order, each within one epoch of its share, and end with the last', () => {
    const run = fc.tuple(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 200 }));
    fc.assert(fc.property(run, ([epochs, epochCount]) => {
      const phases = phasesOver(recipeOf(...epochs), epochCount), total = epochs.reduce((sum, n) => sum + n, 0);
      expect(phases).toEqual([...phases].sort((a, b) => a - b));
      expect(phases[epochCount - 1]).toBe(epochs.length - 1);
      epochs.forEach((n, index) => expect(Math.abs(phases.filter((phase) => phase === index).length - (n / total) * epochCount)).toBeLessThan(1));
    }));
  });

  it('fit exactly where the epochs are a multiple of what the recipe says', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 20 }), (epochs, factor) => {
      const phases = phasesOver(recipeOf(...epochs), epochs.reduce((sum, n) => sum + n, 0) * factor);
      expect(epochs.map((_, index) => phases.filter((phase) => phase === index).length)).toEqual(epochs.map((n) => n * factor));
    }));
  });
});

describe("the article's recipes", () => {
  const body = (names: string[]) => names.filter((name) => !name.startsWith('fc'));
  const isBatchNorm = (name: string) => /(^|\.)bn\d|downsample\.1/.test(name);
  /** Each phase: which parameters of the body learn, whether BatchNorm uses the batch's statistics, the body's rate. */
  const table: Record<string, ['none' | 'batch norm' | 'all' | 'all but batch norm', boolean, number][]> = {
    'feature-extractor': [['none', true, 1]],
    'feature-extractor-bn-eval': [['none', false, 1]],
    'batch-norm-only': [['batch norm', true, 1]],
    discriminative: [['batch norm', true, 1], ['all', true, 0.01]],
    'discriminative-bn-eval': [['none', false, 1], ['all but batch norm', false, 0.01]],
    'deep-head': [['batch norm', true, 1], ['all', true, 0.01]],
  };
  const learns = { none: () => false, 'batch norm': isBatchNorm, all: () => true, 'all but batch norm': (name: string) => !isBatchNorm(name) };

  it('are the six of its table', () => {
    expect(articleRecipeNames).toEqual(Object.keys(table));
  });

  it.each(Object.entries(table))('%s freezes, normalises and learns as the table says', (name, phases) => {
    const recipe = findRecipe(name), model = tinyClassifier(recipe.head);
    expect(recipe.phases).toHaveLength(phases.length);
    for (const [index, [learning, batchStatistics, bodyRate]] of phases.entries()) {
      const phase = recipe.phases[index]!;
      for (let twice = 0; twice < 2; twice++) applyPhase(model, phase);
      const trainable = model.parameters().filter((parameter) => parameter.trainable).map((parameter) => parameter.name);
      const all = model.parameters().map((parameter) => parameter.name);
      expect(body(trainable)).toEqual(body(all).filter(learns[learning]));
      expect(trainable.filter((parameter) => parameter.startsWith('fc'))).toEqual(all.filter((parameter) => parameter.startsWith('fc')));
      for (const layer of model.batchNorms(STAGE_NAMES.filter((stage) => stage !== 'fc'))) expect(layer.usesBatchStatistics).toBe(batchStatistics);
      expect(rateFactor(phase, 'layer3')).toBe(bodyRate);
      expect(rateFactor(phase, 'fc')).toBe(1);
    }
    model.dispose();
  });
});

describe('a rate', () => {
  it("of a stage by its name wins over the body's", () => {
    const [phase] = recipeSchema.parse({ name: 'x', head: 'linear', phases: [{ epochs: 1, train: { freezeUpTo: 'layer1' }, batchNorm: 'eval', rates: { body: 0.1, layer4: 0.5, head: 2 } }] }).phases;
    expect(STAGE_NAMES.map((stage) => rateFactor(phase!, stage))).toEqual([0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 2]);
  });
});

describe('a recipe from a file', () => {
  const valid = { name: 'mine', head: 'linear', phases: [{ epochs: 1, train: 'head', batchNorm: 'eval' }] };

  it('has defaults for what it leaves out, and every recipe of ours is valid', () => {
    expect(recipeSchema.parse(valid)).toEqual({ ...valid, description: '', phases: [{ ...valid.phases[0], rates: {} }] });
    for (const recipe of RECIPES) expect(recipeSchema.parse(recipe)).toEqual(recipe);
  });

  it.each([
    ['no phases', { ...valid, phases: [] }, ['phases']],
    ['no epochs in a phase', { ...valid, phases: [{ ...valid.phases[0], epochs: 0 }] }, ['phases', 0, 'epochs']],
    ['an unknown BatchNorm mode', { ...valid, phases: [{ ...valid.phases[0], batchNorm: 'evall' }] }, ['phases', 0, 'batchNorm']],
    ['an unknown stage', { ...valid, phases: [{ ...valid.phases[0], train: { freezeUpTo: 'layer9' } }] }, ['phases', 0, 'train']],
    ['a negative rate', { ...valid, phases: [{ ...valid.phases[0], rates: { body: -1 } }] }, ['phases', 0, 'rates', 'body']],
    ['an unknown head', { ...valid, head: 'wide' }, ['head']],
    ['a key that means nothing', { ...valid, epoch: 3 }, []],
  ])('is refused with %s, at its place', (_what, recipe, path) => {
    const { error } = recipeSchema.safeParse(recipe);
    expect(error?.issues[0]?.path).toEqual(path);
  });

  it('by a name that is nearly right is told the right one', () => {
    expect(() => findRecipe('discriminativ')).toThrow('There is no recipe called discriminativ. Did you mean discriminative? Choose one of feature-extractor,');
    expect(() => findRecipe('zzz')).toThrow(/^There is no recipe called zzz\. Choose one of/);
  });
});
