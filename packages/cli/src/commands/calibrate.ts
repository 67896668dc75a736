import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '@chameleon/core';
import { type Dataset, manifestSchema, openDataset, openListed } from '@chameleon/data';
import { calibrateModel } from '@chameleon/inference-server';
import { FILES, findRun, readConfig } from '@chameleon/trainer';
import type { Command } from 'commander';
import { startEngine } from '../engine.js';
import { interruption } from '../interruption.js';
import { print, printJson } from '../output.js';
import { ENGINE_SETTINGS, type Given, integer, withSettings } from '../settings.js';

export function addCalibrate(program: Command): void {
  withSettings(program.command('calibrate'), ENGINE_SETTINGS.filter(({ flags }) => !flags.startsWith('--precision')))
    .description('Find how a trained model fits into 8 bits, for `serve --dtype int8`, and what that costs. Looks at training pictures, judges on validation pictures.')
    .option('--model <run>', 'a run, or a model folder', 'last')
    .option('--data <folder>', "class folders, instead of the run's own pictures")
    .option('--pictures <n>', 'training pictures that are looked at', integer, 256)
    .option('--out <folder>', 'where run directories are', 'runs')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', `
Examples:
  chameleon calibrate
  chameleon calibrate --model runs/20261125-demo --pictures 512
  chameleon serve --dtype int8`)
    .action((given: Given) => runCalibrate(given));
}

async function runCalibrate(given: Given): Promise<void> {
  using stop = interruption();
  await startEngine(given);
  const named = given['model'] as string;
  const model = await findRun(named, given['out'] as string).catch((error: unknown) => {
    if (/[/.]/.test(named)) return named;
    throw error;
  });
  const dataset = typeof given['data'] === 'string' ? await openDataset(given['data'], { signal: stop.signal }) : await picturesOf(model);
  const { file, calibration } = await calibrateModel({ model, dataset, pictureCount: given['pictures'] as number, signal: stop.signal });
  if (given['json'] === true) return void printJson({ file, ...calibration });
  print(`Looked at ${calibration.pictureCount} training pictures; wrote ${file}`);
  if (!calibration.accuracy) return void print('There are no validation pictures to judge it on.');
  const { pictureCount, float32, int8, agreement } = calibration.accuracy, percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  print(`On ${pictureCount} validation pictures: float32 ${percent(float32)}, int8 ${percent(int8)}, a loss of ${(100 * (float32 - int8)).toFixed(2)} points; ${percent(agreement)} get the same class`);
}

/** The pictures that a run's manifest names, where its configuration says that they are. */
async function picturesOf(run: string): Promise<Dataset> {
  const path = join(run, FILES.manifest);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new UserError(`${path} is not there, so the training pictures are not known. Pass --data with the folder that the model was trained on.`, { cause: error, exitCode: 2 });
  });
  return openListed((await readConfig(run)).data, manifestSchema.parse(JSON.parse(text)));
}
