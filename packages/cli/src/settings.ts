import { readFile } from 'node:fs/promises';
import { type Recipe, type Schedule, UserError, findRecipe, recipeSchema, scheduleKinds } from '@chameleon/core';
import { type TrainConfig, parseConfig } from '@chameleon/trainer';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parse } from 'yaml';

/** A setting of a run: its flag, its key in run.yaml, and its environment variable CHAMELEON_…, from one declaration. */
interface Setting {
  flags: string;
  /** The key in run.yaml; null for what is resolved before the configuration is made. */
  key: keyof TrainConfig | null;
  help: string;
  parse?: (text: string) => unknown;
  choices?: readonly string[];
}

export const number = (text: string): number => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It is not a number.');
  return value;
};
export const integer = (text: string): number => {
  const value = number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('It is not a whole number.');
  return value;
};
const pair = (text: string): [number, number] => {
  const parts = text.split(',').map(number);
  if (parts.length !== 2) throw new InvalidArgumentError('It is not two numbers with a comma between.');
  return parts as [number, number];
};
const jitter = (text: string) => {
  const [brightness = 0, contrast = brightness, saturation = contrast, hue = 0] = text.split(',').map(number);
  return { brightness, contrast, saturation, hue };
};

export const RUN_SETTINGS: readonly Setting[] = [
  { flags: '--data <folder>', key: 'data', help: 'folder of class folders, or of train/ and val/ with class folders, or of their shards' },
  { flags: '--weights <name>', key: 'weights', help: 'a file (.safetensors, .pth), a name of `weights list`, or random (default: embedded)' },
  { flags: '--arch <name>', key: 'architecture', help: 'resnet18, 34, 50, 101 or 152 (default: what the weights are of)' },
  { flags: '--recipe <name>', key: 'recipe', help: 'a recipe by name, or a YAML file (default: discriminative-bn-eval)' },
  { flags: '--epochs <n>', key: 'epochs', parse: integer, help: 'epochs (default: 4)' },
  { flags: '--batch-size <n>', key: 'batchSize', parse: integer, help: 'pictures a step (default: 16)' },
  { flags: '--accumulate <n>', key: 'accumulate', parse: integer, help: 'parts that a batch is computed in (default: 1)' },
  { flags: '--sync-batch-norm', key: 'syncBatchNorm', help: "BatchNorm's statistics of a batch over the pictures of all workers" },
  { flags: '--image-size <px>', key: 'imageSize', parse: integer, help: 'side of the pictures (default: 224; 64 for the embedded weights)' },
  { flags: '--learning-rate <x>', key: 'learningRate', parse: number, help: "the head's rate (default: 0.001)" },
  { flags: '--optimizer <name>', key: 'optimizer', choices: ['adam', 'adamw', 'sgd'], help: 'default: adam' },
  { flags: '--momentum <x>', key: 'momentum', parse: number, help: 'of sgd (default: 0.9)' },
  { flags: '--weight-decay <x>', key: 'weightDecay', parse: number, help: 'default: 0' },
  { flags: '--schedule <kind>', key: 'schedule', choices: scheduleKinds, help: 'default: constant' },
  { flags: '--label-smoothing <x>', key: 'labelSmoothing', parse: number, help: 'default: 0' },
  { flags: '--clip-norm <x>', key: 'clipNorm', parse: number, help: 'largest norm of all gradients together' },
  { flags: '--patience <n>', key: 'patience', parse: integer, help: 'stop after so many epochs without a better accuracy' },
  { flags: '--seed <n>', key: 'seed', parse: integer, help: 'default: 0' },
  { flags: '--split <method>', key: 'split', choices: ['auto', 'article', 'stratified', 'folders'], help: "how validation pictures are chosen (default: train/ and val/ if there, else the article's first 20 % of each class)" },
  { flags: '--valid-fraction <x>', key: 'validFraction', parse: number, help: 'of each class (default: 0.2)' },
  { flags: '--crop-scale <a,b>', key: null, parse: pair, help: "bounds of RandomResizedCrop's area (default: 0.08,1)" },
  { flags: '--color-jitter <b,c,s,h>', key: null, parse: jitter, help: 'brightness, contrast, saturation, hue (default: off)' },
  { flags: '--drop-last', key: 'dropLast', help: "leave out an epoch's last batch when it isn't full" },
  { flags: '--skip-bad-images', key: 'skipBadImages', help: "go on without pictures that can't be read; they are listed" },
  { flags: '--keep-checkpoints <n>', key: 'keepCheckpoints', parse: integer, help: 'newest checkpoints kept beside the best (default: 2)' },
  { flags: '--checkpoint-every <steps>', key: 'checkpointEvery', parse: integer, help: 'checkpoints inside an epoch too' },
];

export const ENGINE_SETTINGS: readonly Setting[] = [
  { flags: '--precision <p>', key: 'precision', choices: ['auto', 'float32', 'bfloat16'], help: 'default: bfloat16 where the processor has it' },
  { flags: '--backend <name>', key: null, choices: ['auto', 'libtorch', 'tensorflow', 'wasm', 'cpu'], help: 'what computes (default: the best that loads)' },
  { flags: '--device <name>', key: null, choices: ['cpu', 'cuda'], help: 'where libtorch computes (default: cpu)' },
  { flags: '--threads <n>', key: null, parse: integer, help: 'threads that compute (default: the cores)' },
];

/** Adds settings to a command, each with its environment variable. */
export function withSettings(command: Command, settings: readonly Setting[]): Command {
  for (const { flags, help, parse: read, choices } of settings) {
    const option = new Option(flags, help);
    option.env(`CHAMELEON_${option.name().replaceAll('-', '_').toUpperCase()}`);
    if (choices) option.choices(choices);
    if (read) option.argParser(read);
    command.addOption(option);
  }
  return command;
}

export type Given = Record<string, unknown>;

/** The recipe that was named, or read from a YAML file. */
export async function openRecipe(named: string): Promise<Recipe> {
  if (!/\.ya?ml$/i.test(named)) return findRecipe(named);
  const text = await readFile(named, 'utf8').catch((error: unknown) => {
    throw new UserError(`The recipe ${named} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { exitCode: 2, cause: error });
  });
  const parsed = recipeSchema.safeParse(parseYaml(text, `The recipe ${named}`));
  if (parsed.success) return parsed.data;
  throw new UserError(`The recipe ${named} is wrong. ${parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`).join('; ')}.`, { exitCode: 2 });
}

/** The configuration of a run: flags and environment (`given`) over the keys of a file over the defaults. */
export async function makeConfig(given: Given, resolved: Pick<TrainConfig, 'architecture' | 'precision'> & { imageSize: number }, file: Record<string, unknown> = {}): Promise<TrainConfig> {
  const keyed = Object.fromEntries([...RUN_SETTINGS, ...ENGINE_SETTINGS].flatMap(({ flags, key }) => {
    const value = given[new Option(flags).attributeName()];
    return key === null || value === undefined ? [] : [[key, value]];
  }));
  const recipe = keyed['recipe'] ?? file['recipe'] ?? 'discriminative-bn-eval';
  const schedule = keyed['schedule'] === undefined ? (file['schedule'] as Schedule | undefined) : ({ kind: keyed['schedule'] } as Schedule);
  const augmentation = { ...(file['augmentation'] as object | undefined), ...(given['cropScale'] ? { scale: given['cropScale'] } : {}), ...(given['colorJitter'] ? { colorJitter: given['colorJitter'] } : {}) };
  return parseConfig({
    imageSize: resolved.imageSize,
    ...file,
    ...keyed,
    ...(schedule ? { schedule } : {}),
    ...(Object.keys(augmentation).length > 0 ? { augmentation } : {}),
    recipe: typeof recipe === 'string' ? await openRecipe(recipe) : recipe,
    architecture: resolved.architecture,
    precision: resolved.precision,
  } as Parameters<typeof parseConfig>[0]);
}

/** The keys of a configuration file: a run.yaml, or its `config` part alone. */
export async function readConfigFile(path: string): Promise<Record<string, unknown>> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new UserError(`The configuration ${path} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { exitCode: 2, cause: error });
  });
  const parsed = parseYaml(text, `The configuration ${path}`);
  const settings = isSettings(parsed) && 'config' in parsed ? parsed['config'] : parsed;
  if (!isSettings(settings)) throw new UserError(`The configuration ${path} is not a list of settings, such as epochs: 4.`, { exitCode: 2 });
  return settings;
}

const isSettings = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

function parseYaml(text: string, what: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw new UserError(`${what} is not YAML: ${(error as Error).message.split('\n')[0]!.replace(/[:.]$/, '')}.`, { exitCode: 2, cause: error });
  }
}
