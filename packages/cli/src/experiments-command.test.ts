import { findRecipe } from '@chameleon/core';
import { type TrainConfig, parseConfig } from '@chameleon/trainer';
import { Command } from 'commander';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { experimentsCommand } from './experiments-command.js';
import { ENGINE_SETTINGS, type Given, RUN_SETTINGS, makeConfig, withSettings } from './settings.js';

const base = { data: 'photos', weights: 'embedded', architecture: 'resnet16w32', recipe: findRecipe('feature-extractor'), imageSize: 64, precision: 'float32' } as const;

/** The configuration that the words of a command give. */
async function configOf(words: string[]): Promise<TrainConfig> {
  const parser = withSettings(new Command().option('--seeds <n>').option('--recipes <names>').option('--config <file>'), [...RUN_SETTINGS, ...ENGINE_SETTINGS]).exitOverride();
  const given = parser.parse(words, { from: 'user' }).opts<Given>();
  return makeConfig({ ...given, recipe: 'feature-extractor' }, { architecture: given['arch'] as string, precision: given['precision'] as 'float32', imageSize: 224 });
}

describe('the command that makes a table of experiments again', () => {
  it('says what depends on weights and machine, and nothing that is the default', () => {
    expect(experimentsCommand(parseConfig(base), { seeds: 3 })).toBe('chameleon experiments --data photos --weights embedded --arch resnet16w32 --epochs 4 --batch-size 16 --image-size 64 --precision float32 --seeds 3');
  });

  it('names files and folders without their place, quoted where a shell would split them', () => {
    expect(experimentsCommand(parseConfig({ ...base, data: "/home/me/it's mine/", weights: '/data/w.pth' }), { seeds: 1, config: 'conf/run.yaml' })).toMatch(/--data 'it'\\''s mine' --weights w\.pth .*--seeds 1 --config run\.yaml$/);
  });

  it('says recipes, backend and threads where they were given', () => {
    expect(experimentsCommand(parseConfig(base), { seeds: 2, recipes: 'deep-head,mine.yaml', backend: 'wasm', threads: 1 })).toMatch(/--seeds 2 --recipes deep-head,mine\.yaml --backend wasm --threads 1$/);
  });

  it('gives the same configuration when it is typed, whatever was set by flags', async () => {
    const settings = fc.record({
      epochs: fc.integer({ min: 1, max: 99 }), batchSize: fc.integer({ min: 4, max: 64 }), accumulate: fc.integer({ min: 1, max: 4 }), learningRate: fc.double({ min: 1e-6, max: 1, noNaN: true }),
      optimizer: fc.constantFrom('adam' as const, 'adamw' as const, 'sgd' as const), momentum: fc.constantFrom(0.9, 0.5), weightDecay: fc.constantFrom(0, 1e-4), schedule: fc.constantFrom({ kind: 'constant' as const }, { kind: 'one-cycle' as const }),
      labelSmoothing: fc.constantFrom(0, 0.1), clipNorm: fc.constantFrom(null, 1), patience: fc.constantFrom(null, 3), split: fc.constantFrom('auto' as const, 'stratified' as const), validFraction: fc.constantFrom(0.2, 0.3),
      dropLast: fc.boolean(), skipBadImages: fc.boolean(), keepCheckpoints: fc.integer({ min: 1, max: 5 }), checkpointEvery: fc.constantFrom(null, 50),
      augmentation: fc.record({ scale: fc.constantFrom<[number, number]>([0.08, 1], [0.5, 1]), colorJitter: fc.constantFrom(null, { brightness: 0.1, contrast: 0.2, saturation: 0.3, hue: 0.05 }) }),
    }, { requiredKeys: [] });
    await fc.assert(fc.asyncProperty(settings, async (given) => {
      const config = parseConfig({ ...base, ...given });
      expect(await configOf(experimentsCommand(config, { seeds: 3 }).split(' ').slice(2))).toEqual(config);
    }));
  });
});
