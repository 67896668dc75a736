import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { UserError, findRecipe } from '@chameleon/core';
import type { Dataset } from '@chameleon/data';
import { type ExperimentRow, type ExperimentRun, type ExperimentsRecord, type TrainConfig, VERSION, articleRecipes, describeMachine, experimentsTable, markdownTable, openConfigured, renderExperimentsReport, runExperiments, writeWhole } from '@chameleon/trainer';
import { type Command } from 'commander';
import { experimentsCommand } from '../experiments-command.js';
import { interruption } from '../interruption.js';
import { Progress, print, printJson, remark, table } from '../output.js';
import { prepareRun } from '../prepare-run.js';
import { ENGINE_SETTINGS, type Given, RUN_SETTINGS, integer, openRecipe, withSettings } from '../settings.js';

export function addExperiments(program: Command): void {
  withSettings(program.command('experiments'), [...RUN_SETTINGS.filter(({ flags }) => !/--(recipe|seed) /.test(flags)), ...ENGINE_SETTINGS])
    .description("Train the article's six recipes with several seeds: a table with 95 % intervals, and one report.")
    .option('--config <file>', 'a run.yaml; flags and environment win over it')
    .option('--seeds <n>', 'seeds 0 to n-1', integer, 3)
    .option('--recipes <names>', 'recipes by name or YAML file, with commas between (default: all six)')
    .option('--out <folder>', 'where the report and the figures go', 'runs/experiments')
    .option('--markdown', 'print the table in Markdown')
    .option('--json', 'print each run and the result as a line of JSON')
    .addHelpText('after', `
Example:
  chameleon experiments --data photos --seeds 5 --epochs 4`)
    .action((given: Given) => runAll(given));
}

async function runAll(given: Given): Promise<void> {
  using stop = interruption();
  const startedAt = new Date().toISOString();
  const seedCount = given['seeds'] as number;
  if (seedCount < 1) throw new UserError('--seeds must be at least 1.', { exitCode: 2 });
  const { config, engine, weights } = await prepareRun({ ...given, recipe: 'feature-extractor', seed: 0 });
  const names = given['recipes'] as string | undefined;
  const recipes = names ? await Promise.all(names.split(',').map((name) => openRecipe(name.trim()))) : articleRecipes();
  const dataset = await openConfigured(config, { signal: stop.signal });
  const json = given['json'] === true;
  if (!json) remark(`computing with ${engine.description}: ${recipes.length} recipes, ${seedCount} seeds, ${dataset.train.length} pictures to train with, ${dataset.valid.length} to judge by`);
  const seeds = Array.from({ length: seedCount }, (_, i) => i);
  const rows = recipes.map(({ name }): ExperimentRow => ({ recipe: name, ...(weights.tensors === null ? { weights: 'random' } : {}), accuracies: [], seconds: [] }));
  const interrupted = await fill(rows, runExperiments({ base: { ...config, recipe: findRecipe('feature-extractor') }, recipes, seeds }, dataset, weights, { signal: stop.signal }), { runCount: recipes.length * seedCount, json, signal: stop.signal });
  const whole = rows.filter((row) => row.accuracies.length > 0);
  if (interrupted) process.exitCode = 130;
  if (interrupted && !json) remark(`Interrupted after ${whole.reduce((sum, row) => sum + row.accuracies.length, 0)} of ${recipes.length * seedCount} runs; what they gave is kept.`);
  if (whole.length > 0) await conclude(given, recordOf(given, { config, backend: engine.description, dataset, rows: whole, seeds, startedAt }), json);
}

/** Trains the runs one after the other and puts each into its row. @returns whether it was interrupted before the last */
async function fill(rows: readonly ExperimentRow[], runs: AsyncIterable<ExperimentRun>, { runCount, json, signal }: { runCount: number; json: boolean; signal: AbortSignal }): Promise<boolean> {
  const progress = new Progress(process.stderr.isTTY && !json);
  let done = 0;
  progress.update('runs', 0, runCount, rows[0]!.recipe);
  try {
    for await (const run of runs) {
      const row = rows.find(({ recipe }) => recipe === run.recipe)!;
      row.accuracies.push(run.accuracy);
      row.seconds.push(run.seconds);
      if (json) printJson({ type: 'run', ...run });
      else if (!process.stderr.isTTY) remark(`${run.recipe}, seed ${run.seed}: ${run.accuracy.toFixed(4)} after ${run.seconds.toFixed(0)} s`);
      progress.update('runs', ++done, runCount, run.recipe);
    }
    return false;
  } catch (error) {
    if (signal.aborted) return true;
    throw error;
  } finally {
    progress.clear();
  }
}

interface Facts { config: TrainConfig; backend: string; dataset: Dataset; rows: ExperimentRow[]; seeds: number[]; startedAt: string }

function recordOf(given: Given, { config, backend, dataset, rows, seeds, startedAt }: Facts): ExperimentsRecord {
  const name = basename(dataset.root);
  return {
    title: `Recipes on ${name}`,
    architecture: config.architecture,
    dataset: name,
    ...(config.weights === 'random' ? {} : { weights: basename(config.weights) }),
    seeds,
    trainCount: dataset.train.length,
    validCount: dataset.valid.length,
    epochs: config.epochs,
    batchSize: config.batchSize,
    imageSize: config.imageSize,
    precision: config.precision,
    rows,
    command: experimentsCommand(config, given),
    machine: describeMachine(),
    versions: { chameleon: VERSION, backend, node: process.versions.node },
    startedAt,
  };
}

async function conclude(given: Given, record: ExperimentsRecord, json: boolean): Promise<void> {
  const out = given['out'] as string;
  await mkdir(out, { recursive: true });
  const report = join(out, 'experiments.html');
  await writeWhole(report, await renderExperimentsReport(record));
  await writeWhole(join(out, 'experiments.json'), `${JSON.stringify(record, null, 2)}\n`);
  if (json) return printJson({ type: 'result', ...record });
  print(given['markdown'] === true ? markdownTable(record) : table(experimentsTable(record)));
  print(`\nReport  ${report}\nFigures ${join(out, 'experiments.json')}`);
}
