import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { UserError } from '@chameleon/core';
import { drawDataset } from '@chameleon/data';
import { type RunControl, type RunningDashboard, startDashboard } from '@chameleon/dashboard';
import { type ClassifyAnswer, createLogger, startServer } from '@chameleon/inference-server';
import { openModel, predictFiles } from '@chameleon/trainer';
import type { Command } from 'commander';
import { runWithWorkers, threadsEach } from '../distributed-run.js';
import { atLeastOne } from '../distributed-settings.js';
import { interruption } from '../interruption.js';
import { Progress, colorsOf, print, remark, runNarrator } from '../output.js';
import { prepareRun } from '../prepare-run.js';
import { writeReport } from '../reports.js';
import { OwnRunControl } from '../run-control.js';
import { type Given, integer } from '../settings.js';
import { engineFor, untilStopped } from './serve.js';

/** Drawn with a seed of their own: the model never saw them. */
const UNSEEN_SEED = 20_240_501, UNSEEN_COUNT = 6;

/** Patterns are small in these pictures, and what tells them apart is not what photographs taught the body: it has to learn. */
const SUITED = { recipe: 'discriminative', imageSize: 128, learningRate: 0.01, cropScale: [0.5, 1] };

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('Draw a data set, train the embedded backbone on it with two workers, classify pictures that it never saw, and serve the model; all of it on a dashboard.')
    .option('--folder <folder>', 'where everything goes', 'demo')
    .option('--epochs <n>', 'epochs', integer, 8)
    .option('--count <n>', 'pictures drawn', integer, 1200)
    .option('--workers <n>', 'processes that train together', atLeastOne, 2)
    .option('--port <n>', 'where the server listens; 0 takes any free port', integer, 0)
    .option('--keep-serving', 'leave the server running until Ctrl-C (default on a terminal)')
    .option('--no-keep-serving', 'stop it once it has answered (default in a script)')
    .addHelpText('after', '\nExamples:\n  chameleon demo\n  chameleon demo --folder /tmp/demo --port 8080 --keep-serving')
    .action((given: Given) => runDemo({ keepServing: process.stdin.isTTY && process.stdout.isTTY, ...given } as DemoOptions));
}

interface DemoOptions { folder: string; epochs: number; count: number; workers: number; port: number; keepServing: boolean }

async function runDemo(options: DemoOptions): Promise<void> {
  const unseen = join(options.folder, 'unseen');
  const watched = new WatchedTargets(join(options.folder, 'dashboard-targets.json'));
  await mkdir(options.folder, { recursive: true });
  using own = new OwnRunControl();
  await using dashboard = await watched.open(join(options.folder, 'runs'), own.control);
  const run = await trainAndJudge(options, { unseen, watched, dashboard, own });
  if (run === null) return;
  await serveOnce(run, await firstPicture(unseen), options, watched, dashboard);
  print(`\nNext: npx chameleon train --data YOUR-FOLDER, with a folder of pictures for each class.`);
}

/** What the dashboard scrapes: it reads the file again when it changes. */
class WatchedTargets {
  readonly #urls: string[] = [];

  constructor(private readonly file: string) {}

  async open(runsFolder: string, control: RunControl): Promise<RunningDashboard> {
    await this.#write();
    return startDashboard({ port: 0, targetsFile: this.file, runsFolder, intervalMs: 1000, control });
  }

  async add(url: string): Promise<void> {
    this.#urls.push(url);
    await this.#write();
  }

  async #write(): Promise<void> {
    await writeFile(this.file, JSON.stringify(this.#urls.length === 0 ? [] : [{ targets: this.#urls }]));
  }
}

/** @returns the run's directory, or null when it was interrupted */
async function trainAndJudge({ folder, epochs, count, workers }: DemoOptions, { unseen, watched, dashboard, own }: { unseen: string; watched: WatchedTargets; dashboard: RunningDashboard; own: OwnRunControl }): Promise<string | null> {
  using stop = interruption();
  const data = join(folder, `drawn-${count}`);
  await drawOnce(data, count, 0, stop.signal);
  await drawOnce(unseen, UNSEEN_COUNT, UNSEEN_SEED, stop.signal);
  const { config, engine } = await prepareRun({ data, epochs, ...SUITED });
  print(`\nTraining ${config.architecture} on ${data} with ${engine.backend} in ${workers} ${workers === 1 ? 'process' : 'processes'}, ${config.precision}: head and BatchNorm first, then everything.`);
  print(`Watch it at ${dashboard.url}, and change its learning rates there while it trains.`);
  const outcome = await runWithWorkers({ config, out: join(folder, 'runs') }, {
    count: workers, threads: threadsEach(workers), engine, verbose: true, signal: stop.signal,
    metrics: { port: 0, host: '127.0.0.1' },
    observe: runNarrator(epochs),
    onMetrics: (url) => void watched.add(url),
    onListening: (address, token) => own.reach(address, token),
  });
  if (outcome.reason === 'interrupted') {
    process.exitCode = 130;
    remark(`Interrupted; go on with: npx chameleon train --resume ${outcome.path}`);
    return null;
  }
  await classifyUnseen(outcome.path, unseen, config.precision);
  print(`\nRun     ${outcome.path}\nReport  ${await writeReport(outcome.path)}`);
  return outcome.path;
}

/** Serves the run and has it classify one picture over HTTP; stays open where a person is there to look at it. */
async function serveOnce(run: string, picture: string, { port, keepServing }: DemoOptions, watched: WatchedTargets, dashboard: RunningDashboard): Promise<void> {
  const server = await startServer({ models: [{ path: run }], engine: await engineFor('auto'), port, logger: createLogger('warn') });
  await watched.add(`${server.url}/metrics`);
  if (keepServing) {
    await untilStopped(server, {}, async () => {
      await askOverHttp(server.url, picture);
      print(`Open ${server.url} to try a picture, ${dashboard.url} to watch run and server; Ctrl-C ends both.`);
    });
    return;
  }
  try {
    await server.ready;
    await askOverHttp(server.url, picture);
  } finally {
    await server.stop();
  }
  print(`To serve it again: npx chameleon serve ${run}`);
}

async function askOverHttp(url: string, picture: string): Promise<void> {
  const form = new FormData();
  form.append('image', new Blob([Uint8Array.from(await readFile(picture))]), basename(picture));
  const response = await fetch(`${url}/v1/classify`, { method: 'POST', body: form });
  if (!response.ok) throw new UserError(`The server at ${url} answered ${response.status}: ${await response.text()}`);
  const { predictions, timings_ms: ms } = (await response.json()) as ClassifyAnswer;
  const said = predictions[0]!.classes.map(({ label, probability }) => `${label} ${(100 * probability).toFixed(1)} %`).join(', ');
  print(`\nServed  ${url}\n  curl -F image=@${picture} ${url}/v1/classify\n  ${said}, in ${ms.total.toFixed(0)} ms`);
}

async function firstPicture(folder: string): Promise<string> {
  const [label] = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();
  const [name] = (await readdir(join(folder, label!))).sort();
  return join(folder, label!, name!);
}

async function classifyUnseen(run: string, folder: string, precision: 'float32' | 'bfloat16'): Promise<void> {
  const { model, card } = await openModel(run);
  const { green, red } = colorsOf(process.stdout);
  print('\nPictures that it never saw:');
  try {
    const paths = (await Promise.all(card.classes.map(async (label) => (await readdir(join(folder, label))).map((name) => join(folder, label, name))))).flat();
    for await (const answer of predictFiles(model, card, paths, { precision, topK: 1 })) {
      if (!('classes' in answer)) continue;
      const { label, probability } = answer.classes[0]!;
      print(`${answer.path.includes(`/${label}/`) ? green('right') : red('wrong')}  ${answer.path}  ${label} ${(100 * probability).toFixed(1)} %`);
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
