import { resolve } from 'node:path';
import { UserError } from '@chameleon/core';
import { type RunPlace, findRun, readConfig } from '@chameleon/trainer';
import type { Command } from 'commander';
import { finishRun, startMeasuredCoordinator } from '../distributed-run.js';
import { atLeastOne, readGroup, readMetrics, readSecurity, withGroup, withMetrics, withSecurity } from '../distributed-settings.js';
import { type Engine, startEngine } from '../engine.js';
import { interruption } from '../interruption.js';
import { print, printJson, runNarrator } from '../output.js';
import { prepareRun } from '../prepare-run.js';
import { ENGINE_SETTINGS, type Given, RUN_SETTINGS, withSettings } from '../settings.js';

export function addCoordinator(program: Command): void {
  withMetrics(withGroup(withSecurity(withSettings(program.command('coordinator'), [...RUN_SETTINGS, ...ENGINE_SETTINGS]), 'server')))
    .description('Hold one run together over workers on any machines.')
    .option('--config <file>', 'a run.yaml; flags and environment win over it')
    .option('--listen <address>', 'host:port; only this machine can reach 127.0.0.1', '127.0.0.1:50051')
    .option('--insecure', 'listen for others without token and TLS')
    .option('--min-workers <n>', 'train with so many at least', atLeastOne, 1)
    .option('--max-workers <n>', 'let no more in', atLeastOne, 1024)
    .option('--join-window <s>', 'seconds to gather workers that come one after the other (default: the detection time)', atLeastOne)
    .option('--out <folder>', 'where run directories go', 'runs')
    .option('--run-dir <folder>', 'the run directory itself, which must not exist')
    .option('--resume <run>', 'go on with a run: its directory, name, or last')
    .option('--json', 'print each fact of the run as a line of JSON')
    .addHelpText('after', `
Examples:
  chameleon coordinator --config run.yaml
  chameleon coordinator --data /shared/photos --listen 10.0.0.5:50051 --join-token-file token`)
    .action((given: Given) => coordinate(given));
}

async function coordinate(given: Given): Promise<void> {
  using stop = interruption();
  const json = given['json'] === true;
  const { place, epochs, engine } = await placeOfRun(given);
  const narrate = json ? printJson : runNarrator(epochs);
  const running = await startMeasuredCoordinator(place, {
    listen: given['listen'] as string,
    security: await readSecurity(given),
    minWorkers: given['minWorkers'] as number,
    maxWorkers: given['maxWorkers'] as number,
    ...(given['joinWindow'] ? { joinWindowMs: (given['joinWindow'] as number) * 1000 } : {}),
    ...readGroup(given, engine),
  }, { backend: engine.description, observe: narrate, signal: stop.signal }, readMetrics(given));
  try {
    if (running.metricsUrl && !json) print(`Metrics ${running.metricsUrl}`);
    if (json) printJson({ type: 'listening', address: `${running.host}:${running.port}`, run: running.path, ...(running.metricsUrl ? { metrics: running.metricsUrl } : {}) });
    else print(`Run ${running.path}\nWorkers join with: chameleon worker --coordinator ${running.host}:${running.port}`);
    await finishRun(await running.outcome, json);
  } finally {
    await running.close();
  }
}

/** A new run out of flags and files, or one that is gone on with. */
export async function placeOfRun(given: Given): Promise<{ place: RunPlace; epochs: number; engine: Engine }> {
  const { resume, runDir, out } = given as { resume?: string; runDir?: string; out: string };
  if (resume !== undefined) {
    // What only this machine computes with has no key in a run's configuration.
    const settings = [...RUN_SETTINGS, ...ENGINE_SETTINGS.filter(({ key }) => key !== null)].map(({ flags }) => /--([\w-]+)/.exec(flags)![1]!.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()));
    const refused = settings.filter((name) => given[name] !== undefined);
    if (refused.length > 0) throw new UserError(`A run is resumed with the settings that it began with; ${refused.join(', ')} can't be changed. Leave them out, or start a new run.`, { exitCode: 2 });
    const path = resolve(await findRun(resume, out));
    const { epochs } = await readConfig(path);
    const engine = await startEngine(given);
    return { place: { resume: path }, epochs, engine };
  }
  const { config, engine } = await prepareRun(given);
  return { place: { config, out, ...(runDir ? { path: runDir } : {}) }, epochs: config.epochs, engine };
}
