import { basename } from 'node:path';
import { type TrainConfig, parseConfig } from '@chameleon/trainer';
import { Option } from 'commander';
import { ENGINE_SETTINGS, type Given, RUN_SETTINGS } from './settings.js';

/** Written out even where they are the defaults, which depend on the weights and the machine. */
const ALWAYS = new Set(['data', 'weights', 'architecture', 'imageSize', 'epochs', 'batchSize', 'precision']);
/** The recipes have a flag of their own, and each seed is trained. */
const NEVER = new Set(['recipe', 'seed']);

/**
 * The command that makes the table again: every setting that isn't the default, whether it came from a flag, the
 * environment or a file. Of paths the last part alone: a report is passed on, its folders are not.
 */
export function experimentsCommand(config: TrainConfig, given: Given): string {
  const words = ['chameleon', 'experiments', ...settingsOf(config), ...augmentationOf(config), '--seeds', String(given['seeds'])];
  for (const name of ['recipes', 'backend', 'threads']) if (given[name] !== undefined) words.push(`--${name}`, String(given[name] as string | number));
  if (typeof given['config'] === 'string') words.push('--config', basename(given['config']));
  return words.map(quoted).join(' ');
}

function settingsOf(config: TrainConfig): string[] {
  const defaults = parseConfig({ data: config.data, architecture: config.architecture, recipe: config.recipe });
  return [...RUN_SETTINGS, ...ENGINE_SETTINGS].flatMap(({ flags, key }) => {
    if (key === null || NEVER.has(key)) return [];
    const text = textOf(config, key);
    if (text === null || (!ALWAYS.has(key) && text === textOf(defaults, key))) return [];
    const flag = new Option(flags).long!;
    return text === 'true' ? [flag] : [flag, text];
  });
}

/** A setting as its flag takes it; null where there is nothing to say. */
function textOf(config: TrainConfig, key: keyof TrainConfig): string | null {
  const value = config[key];
  if (value === null || value === false) return null;
  if (key === 'data' || key === 'weights') return basename(config[key]);
  if (key === 'schedule') return config.schedule.kind;
  return String(value as string | number | boolean);
}

function augmentationOf(config: TrainConfig): string[] {
  const defaults = parseConfig({ data: config.data, architecture: config.architecture, recipe: config.recipe }).augmentation;
  const { scale, colorJitter } = config.augmentation;
  return [
    ...(scale.join() === defaults.scale.join() ? [] : ['--crop-scale', scale.join()]),
    ...(colorJitter ? ['--color-jitter', [colorJitter.brightness, colorJitter.contrast, colorJitter.saturation, colorJitter.hue].join()] : []),
  ];
}

/** As a shell reads it back. */
const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
