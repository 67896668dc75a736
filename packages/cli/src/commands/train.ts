import { basename, join } from 'node:path';
import { UserError } from '@chameleon/core';
import { RunMetrics, type TrainOutcome, type TrainSurroundings, findRun, openStartWeights, readConfig, resume, runId, serveMetrics, train, watchGpus } from '@chameleon/trainer';
import type { Command } from 'commander';
import { trainWithWorkers } from '../distributed-run.js';
import { atLeastOne } from '../distributed-settings.js';
import { startEngine } from '../engine.js';
import { interruption } from '../interruption.js';
import { Progress, printJson, print, remark, runNarrator } from '../output.js';
import { prepareRun } from '../prepare-run.js';
import { writeReport } from '../reports.js';
import { ENGINE_SETTINGS, type Given, RUN_SETTINGS, integer, withSettings } from '../settings.js';

export function addTrain(program: Command): void {
  withSettings(program.command('train'), [...RUN_SETTINGS, ...ENGINE_SETTINGS])
    .description('Train a classifier on a folder of class folders.')
    .option('--config <file>', 'a run.yaml; flags and environment win over it')
    .option('--out <folder>', 'where run directories go', 'runs')
    .option('--run-dir <folder>', 'the run directory itself, which must not exist')
    .option('--resume <run>', 'go on with a run: its directory, name, or last')
    .option('--workers <n>', 'train with so many processes of this machine, which share its cores', atLeastOne)
    .option('--listen <address>', 'with --workers: host:port where commands to the run are taken, with the token in CHAMELEON_JOIN_TOKEN (default: nowhere)')
    .option('--json', 'print each fact of the run as a line of JSON')
    .option('--metrics-port <n>', 'serve metrics for Prometheus and the dashboard on this port of this machine; 0 takes any free one', integer)
    .addHelpText('after', `
Examples:
  chameleon train --data photos
  chameleon train --data photos --weights resnet34 --recipe discriminative
  chameleon train --data photos --weights random --recipe from-scratch
  chameleon train --data photos --workers 2
  chameleon train --data photos --workers 1 --listen 127.0.0.1:50051
  chameleon train --resume last`)
    .action((given: Given) => {
      if (given['workers'] !== undefined) return trainWithWorkers(given, given['workers'] as number);
      if (given['listen'] !== undefined) throw new UserError('Commands are taken by a run with workers: add --workers 1, or leave out --listen.', { exitCode: 2 });
      return runTrain(given);
    });
}

async function runTrain(given: Given): Promise<void> {
  using stop = interruption();
  const started = await (typeof given['resume'] === 'string' ? prepareResume(given, given['resume']) : prepareStart(given));
  const json = given['json'] === true;
  if (!json) remark(`computing with ${started.description}`);
  const reading = new Progress(process.stderr.isTTY && !json);
  const narrate = json ? printJson : runNarrator(started.epochs);
  const metrics = new RunMetrics({ run: basename(started.path), worker: 'alone' });
  await using served = typeof given['metricsPort'] === 'number' ? await serveMetrics(metrics, given['metricsPort']) : null;
  if (served && !json) remark(`metrics at ${served.url}`);
  using _gpus = served && watchGpus((readings) => metrics.observeGpus('alone', readings));
  const outcome = await started.run({
    backend: started.description,
    openWeights: openStartWeights,
    signal: stop.signal,
    observe: (event) => (reading.clear(), narrate(event), metrics.observe(event)),
    onPhase: (phase) => metrics.enterPhase(phase),
    onProgress: (done, total) => reading.update('looking at the pictures', done, total),
  });
  await finish(outcome, json);
}

interface Started {
  description: string;
  /** The run's directory. */
  path: string;
  epochs: number;
  run: (surroundings: TrainSurroundings) => Promise<TrainOutcome>;
}

async function prepareStart(given: Given): Promise<Started> {
  const { config, engine, weights } = await prepareRun(given);
  const out = given['out'] as string;
  const path = (given['runDir'] as string | undefined) ?? join(out, runId(config.recipe.name, new Date()));
  return {
    description: engine.description,
    path,
    epochs: config.epochs,
    run: (surroundings) => train(config, { out, path }, { ...surroundings, openWeights: () => Promise.resolve(weights) }),
  };
}

async function prepareResume(given: Given, named: string): Promise<Started> {
  const allowed = new Set(['resume', 'out', 'json', 'backend', 'device', 'threads', 'metricsPort']);
  const refused = Object.keys(given).filter((key) => given[key] !== undefined && !allowed.has(key));
  if (refused.length > 0) throw new UserError(`A run is resumed with the settings that it began with; ${refused.join(', ')} can't be changed. Leave them out, or start a new run.`, { exitCode: 2 });
  const path = await findRun(named, given['out'] as string);
  const config = await readConfig(path);
  const engine = await startEngine(given);
  return { description: engine.description, path, epochs: config.epochs, run: (surroundings) => resume(path, surroundings) };
}

/** Says how the run ended and where everything lies; 130 where it was interrupted. */
async function finish(outcome: TrainOutcome, json: boolean): Promise<void> {
  if (outcome.reason === 'interrupted') {
    process.exitCode = 130;
    if (!json) remark(`Interrupted after step ${outcome.position.step}. A checkpoint is left: go on with\n  chameleon train --resume ${outcome.path}`);
    return;
  }
  const report = await writeReport(outcome.path);
  if (json) return;
  const { best } = outcome.position;
  print(`\nBest validation accuracy ${best!.accuracy.toFixed(4)}, in epoch ${best!.epoch + 1}${outcome.reason === 'stopped early' ? '; stopped early' : ''}.`);
  print(`Run     ${outcome.path}\nModel   ${join(outcome.path, 'model')}\nReport  ${report}`);
}
