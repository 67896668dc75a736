import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { drawDataset } from '@chameleon/data';
import { openModel, predictFiles, train } from '@chameleon/trainer';
import type { Command } from 'commander';
import colors from 'picocolors';
import { interruption } from '../interruption.js';
import { Progress, print, remark, runNarrator } from '../output.js';
import { prepareRun } from '../prepare-run.js';
import { writeReport } from '../reports.js';
import { type Given, integer } from '../settings.js';

/** Drawn with a seed of their own: the model never saw them. */
const UNSEEN_SEED = 20_240_501, UNSEEN_COUNT = 6;

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('Draw a data set, train the embedded backbone on it, and classify pictures that it never saw.')
    .option('--folder <folder>', 'where everything goes', 'demo')
    .option('--epochs <n>', 'epochs', integer, 4)
    .option('--count <n>', 'pictures drawn', integer, 1200)
    .addHelpText('after', '\nExample:\n  chameleon demo --folder /tmp/demo')
    .action((given: Given) => runDemo(given as { folder: string; epochs: number; count: number }));
}

async function runDemo({ folder, epochs, count }: { folder: string; epochs: number; count: number }): Promise<void> {
  using stop = interruption();
  const data = join(folder, `drawn-${count}`), unseen = join(folder, 'unseen');
  await drawOnce(data, count, 0, stop.signal);
  await drawOnce(unseen, UNSEEN_COUNT, UNSEEN_SEED, stop.signal);
  const { config, engine, weights } = await prepareRun({ data, epochs, recipe: 'discriminative-bn-eval' });
  print(`\nTraining ${config.architecture} on ${data} with ${engine.description}, ${config.precision}: the head first, then everything.`);
  const outcome = await train(config, { out: join(folder, 'runs') }, { backend: engine.description, openWeights: () => Promise.resolve(weights), signal: stop.signal, observe: runNarrator(epochs) });
  if (outcome.reason === 'interrupted') {
    process.exitCode = 130;
    return remark(`Interrupted; go on with: npx chameleon train --resume ${outcome.path}`);
  }
  await classifyUnseen(outcome.path, unseen, config.precision);
  print(`\nRun     ${outcome.path}\nReport  ${await writeReport(outcome.path)}`);
  print(`\nNext: npx chameleon train --data YOUR-FOLDER, with a folder of pictures for each class.`);
}

async function classifyUnseen(run: string, folder: string, precision: 'float32' | 'bfloat16'): Promise<void> {
  const { model, card } = await openModel(run);
  print('\nPictures that it never saw:');
  try {
    const paths = (await Promise.all(card.classes.map(async (label) => (await readdir(join(folder, label))).map((name) => join(folder, label, name))))).flat();
    for await (const answer of predictFiles(model, card, paths, { precision, topK: 1 })) {
      if (!('classes' in answer)) continue;
      const { label, probability } = answer.classes[0]!;
      print(`${answer.path.includes(`/${label}/`) ? colors.green('right') : colors.red('wrong')}  ${answer.path}  ${label} ${(100 * probability).toFixed(1)} %`);
    }
  } finally {
    model.dispose();
  }
}

/** Draws a data set unless it is there. */
async function drawOnce(folder: string, count: number, seed: number, signal: AbortSignal): Promise<void> {
  const there = await readdir(folder).catch(() => []);
  if (there.length > 0) return;
  const progress = new Progress();
  await drawDataset(folder, { count, seed, signal, onProgress: (done, total) => progress.update(`drawing ${folder}`, done, total) });
  progress.clear();
  print(`drew ${count} pictures into ${folder}`);
}
