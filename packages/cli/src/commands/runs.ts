import { join } from 'node:path';
import { type Run, type RunClient, epochRows, findRun, listRuns, readConfig, readEvents } from '@chameleon/trainer';
import type { Command } from 'commander';
import { print, printJson, table } from '../output.js';
import { writeReport } from '../reports.js';
import type { Given } from '../settings.js';
import { addLiveRuns, describe, withClient, withCoordinator } from './runs-live.js';

export function addRuns(program: Command): void {
  const runs = program.command('runs').description('What was trained here, and what a coordinator trains now.');
  addLiveRuns(runs);
  withCoordinator(runs.command('list'))
    .description('Every run, oldest first.')
    .option('--out <folder>', 'where run directories are', 'runs')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExample:\n  chameleon runs list')
    .action(async (given: Given) => {
      if (given['coordinator'] !== undefined) return showLive(given, (client) => client.list());
      const out = given['out'] as string;
      const rows = await Promise.all((await listRuns(out)).map((name) => summarise(join(out, name), name)));
      if (given['json'] === true) return printJson(rows);
      print(rows.length === 0 ? `No runs in ${out} yet.` : table([['run', 'epochs', 'best', 'state'], ...rows.map((row) => [row.run, `${row.epochsDone}/${row.epochs}`, row.best?.toFixed(4) ?? '–', row.state])]));
    });
  withCoordinator(runs.command('show <run>'))
    .description("A run's epochs and settings; its name may be shortened, and last is the newest.")
    .option('--out <folder>', 'where run directories are', 'runs')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExample:\n  chameleon runs show last')
    .action(async (named: string, given: Given) => {
      if (given['coordinator'] !== undefined) return showLive(given, async (client) => [await client.get(named)]);
      const path = await findRun(named, given['out'] as string);
      const [config, events] = await Promise.all([readConfig(path), readEvents(path)]);
      const epochs = epochRows(events);
      if (given['json'] === true) return printJson({ path, config, epochs });
      print(`${path}\n${config.recipe.name}, ${config.architecture}, ${config.imageSize} px, batch ${config.batchSize}, ${config.optimizer} ${config.learningRate}, seed ${config.seed}, ${config.precision}\n`);
      print(table([['epoch', 'loss', 'accuracy', 'valid. loss', 'valid. accuracy', 'pictures/s'], ...epochs.map((row) => [String(row.epoch + 1), row.trainLoss.toFixed(4), row.trainAccuracy.toFixed(4), row.validLoss.toFixed(4), row.validAccuracy.toFixed(4), row.picturesPerSecond.toFixed(0)])]));
    });
}

export function addReport(program: Command): void {
  program
    .command('report <run>')
    .description("Write a run's report again, as one HTML file that opens offline.")
    .option('--out <folder>', 'where run directories are', 'runs')
    .option('--to <file>', 'where the report goes (default: report.html in the run directory)')
    .addHelpText('after', '\nExample:\n  chameleon report last --to report.html')
    .action(async (named: string, given: Given) => {
      const path = await findRun(named, given['out'] as string);
      print(await writeReport(path, given['to'] as string | undefined));
    });
}

async function showLive(given: Given, ask: (client: RunClient) => Promise<Run[]>): Promise<void> {
  const live = await withClient(given, ask);
  if (given['json'] === true) printJson(live);
  else print(live.map(describe).join('\n\n'));
}

async function summarise(path: string, run: string): Promise<{ run: string; epochs: number; epochsDone: number; best: number | null; state: string }> {
  const [config, events] = await Promise.all([readConfig(path), readEvents(path)]);
  const epochs = epochRows(events);
  const finish = events.findLast((event) => event.type === 'finish');
  return { run, epochs: config.epochs, epochsDone: epochs.length, best: epochs.length === 0 ? null : Math.max(...epochs.map((row) => row.validAccuracy)), state: finish?.reason ?? 'unfinished' };
}
