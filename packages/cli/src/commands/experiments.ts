import { join } from 'node:path';
import { UserError, findRecipe } from '@chameleon/core';
import { type ExperimentRow, type ExperimentsRecord, VERSION, articleRecipes, describeMachine, experimentsTable, markdownTable, openConfigured, renderExperimentsReport, runExperiments, writeWhole } from '@chameleon/trainer';
import { type Command } from 'commander';
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
  const seedCount = given['seeds'] as number;
  if (seedCount < 1) throw new UserError('--seeds must be at least 1.', { exitCode: 2 });
  const { config, engine, weights } = await prepareRun({ ...given, recipe: 'feature-extractor', seed: 0 });
  const names = given['recipes'] as string | undefined;
  const recipes = names ? await Promise.all(names.split(',').map((name) => openRecipe(name.trim()))) : articleRecipes();
  const dataset = await openConfigured(config, { signal: stop.signal });
  const json = given['json'] === true;
  if (!json) remark(`computing with ${engine.description}: ${recipes.length} recipes, ${seedCount} seeds, ${dataset.train.length} pictures to train with, ${dataset.valid.length} to judge by`);
  const rows = new Map<string, ExperimentRow>(recipes.map(({ name }) => [name, { recipe: name, accuracies: [], seconds: [] }]));
  const progress = new Progress(process.stderr.isTTY && !json);
  let done = 0;
  progress.update('runs', 0, recipes.length * seedCount, recipes[0]!.name);
  for await (const run of runExperiments({ base: { ...config, recipe: findRecipe('feature-extractor') }, recipes, seeds: Array.from({ length: seedCount }, (_, i) => i) }, dataset, weights, { signal: stop.signal })) {
    const row = rows.get(run.recipe)!;
    row.accuracies.push(run.accuracy);
    row.seconds.push(run.seconds);
    if (json) printJson({ type: 'run', ...run });
    else if (!process.stderr.isTTY) remark(`${run.recipe}, seed ${run.seed}: ${run.accuracy.toFixed(4)} after ${run.seconds.toFixed(0)} s`);
    progress.update('runs', ++done, recipes.length * seedCount, run.recipe);
  }
  progress.clear();
  await conclude(given, recordOf(given, { config, backend: engine.description, dataset, rows: [...rows.values()] }), json);
}

function recordOf(given: Given, { config, backend, dataset, rows }: { config: Awaited<ReturnType<typeof prepareRun>>['config']; backend: string; dataset: { root: string; train: unknown[]; valid: unknown[] }; rows: ExperimentRow[] }): ExperimentsRecord {
  const name = dataset.root.split('/').filter(Boolean).at(-1)!;
  return {
    title: `Recipes on ${name}`,
    architecture: config.architecture,
    dataset: `${name}: ${dataset.train.length} pictures to train with, ${dataset.valid.length} to judge by`,
    epochs: config.epochs,
    batchSize: config.batchSize,
    imageSize: config.imageSize,
    precision: config.precision,
    rows,
    command: `chameleon experiments --data ${name} --weights ${config.weights.split('/').at(-1)!} --image-size ${config.imageSize} --epochs ${config.epochs} --batch-size ${config.batchSize} --precision ${config.precision} --seeds ${given['seeds'] as number}`,
    machine: describeMachine(),
    versions: { chameleon: VERSION, backend, node: process.versions.node },
  };
}

async function conclude(given: Given, record: ExperimentsRecord, json: boolean): Promise<void> {
  const { mkdir } = await import('node:fs/promises');
  const out = given['out'] as string;
  await mkdir(out, { recursive: true });
  const report = join(out, 'experiments.html');
  await writeWhole(report, await renderExperimentsReport(record));
  await writeWhole(join(out, 'experiments.json'), `${JSON.stringify(record, null, 2)}\n`);
  if (json) return printJson({ type: 'result', ...record });
  print(given['markdown'] === true ? markdownTable(record) : table(experimentsTable(record)));
  print(`\nReport  ${report}\nFigures ${join(out, 'experiments.json')}`);
}
