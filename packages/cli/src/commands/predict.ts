import { type Precision, UserError } from '@chameleon/core';
import { findRun, openModel, predictFiles } from '@chameleon/trainer';
import type { Command } from 'commander';
import { resolvePrecision, startEngine } from '../engine.js';
import { print, printJson, remark } from '../output.js';
import { ENGINE_SETTINGS, type Given, integer, withSettings } from '../settings.js';

export function addPredict(program: Command): void {
  withSettings(program.command('predict <pictures...>'), ENGINE_SETTINGS)
    .description('Classify picture files with a trained model.')
    .option('--model <run>', 'a run, or a model folder', 'last')
    .option('--top-k <n>', 'classes shown of each picture', integer, 2)
    .option('--out <folder>', 'where run directories are', 'runs')
    .option('--json', 'print a line of JSON for each picture')
    .addHelpText('after', `
Example:
  chameleon predict soldier.jpg friend.png --model last`)
    .action(async (pictures: string[], given: Given) => {
      const engine = await startEngine(given);
      const { model, card } = await openNamedModel(given['model'] as string, given['out'] as string);
      const precision = resolvePrecision((given['precision'] as Precision | undefined) ?? 'auto', engine);
      let bad = 0;
      try {
        for await (const answer of predictFiles(model, card, pictures, { precision, topK: given['topK'] as number })) {
          if (given['json'] === true) printJson(answer);
          else if ('classes' in answer) print(`${answer.path}  ${answer.classes.map(({ label, probability }) => `${label} ${(100 * probability).toFixed(1)} %`).join(', ')}`);
          if ('problem' in answer) {
            bad++;
            remark(`${answer.path} ${answer.problem}.`);
          }
        }
      } finally {
        model.dispose();
      }
      if (bad > 0) throw new UserError(`${bad} of ${pictures.length} pictures could not be classified.`);
    });
}

/** A model folder by its path, or a run's by its name. */
export async function openNamedModel(named: string, out: string): Promise<Awaited<ReturnType<typeof openModel>>> {
  return openModel(await findRun(named, out).catch((error: unknown) => {
    if (/[/.]/.test(named)) return named;
    throw error;
  }));
}
