import { UserError } from '@chameleon/core';
import { type Run, type RunClient, openRunClient } from '@chameleon/trainer';
import type { Command } from 'commander';
import { readSecurity, withSecurity } from '../distributed-settings.js';
import { interruption } from '../interruption.js';
import { print, printJson, runNarrator, table } from '../output.js';
import type { Given } from '../settings.js';

/** Runs that are under way, as their coordinator tells of them. */

/** Adds where the coordinator is, and how it is spoken with. */
export function withCoordinator(command: Command): Command {
  return withSecurity(command.option('--coordinator <address>', 'host:port of a coordinator: its run, as it is now'), 'client');
}

export async function withClient<T>(given: Given, act: (client: RunClient) => Promise<T>): Promise<T> {
  using client = await openRunClient(given['coordinator'] as string, await readSecurity(given));
  return await act(client);
}

export function addLiveRuns(runs: Command): void {
  const withLive = (command: Command, description: string, example: string) =>
    withSecurity(command, 'client')
      .description(description)
      .requiredOption('--coordinator <address>', 'host:port of the coordinator', process.env['CHAMELEON_COORDINATOR'])
      .option('--json', 'print it as JSON')
      .addHelpText('after', `\nExample:\n  chameleon runs ${example} --coordinator 10.0.0.5:50051`);
  const live = (name: string, description: string, act: (named: string, given: Given) => Promise<void>) =>
    withLive(runs.command(`${name} [run]`), description, name).action((named: string | undefined, given: Given) => act(named ?? '', given));
  live('watch', 'Follow a run: its facts as they are written down.', watch);
  live('stop', 'End a run after the step at hand, with a checkpoint.', (named, given) => command(given, (client) => client.stop(named)));
  live('checkpoint', 'Leave a checkpoint after the step at hand.', (named, given) => command(given, (client) => client.checkpoint(named)));
  live('unfreeze', 'Let everything learn from the next step on; the body as the recipe has it, or a hundred times slower than the head.', (named, given) => command(given, (client) => client.unfreeze(named)));
  withLive(runs.command('set-rate <group> <rate> [run]'), "Set a group's learning rate from the next step on; the schedule goes on from there.", 'set-rate head 0.0005')
    .action((group: string, rate: string, named: string | undefined, given: Given) => command(given, (client) => client.setRate(named ?? '', group, numberOf(rate))));
}

/** @throws UserError for what is no number; what rates a run takes its coordinator says */
function numberOf(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) throw new UserError(`${text} is no learning rate. Write a number above 0, as 0.0005 or 5e-4.`, { exitCode: 2 });
  return value;
}

async function watch(named: string, given: Given): Promise<void> {
  using stop = interruption();
  await withClient(given, async (client) => {
    const json = given['json'] === true;
    let narrate: ReturnType<typeof runNarrator> | null = null;
    for await (const update of client.watch(named, stop.signal)) {
      if (update.$case === 'run') {
        narrate ??= runNarrator(update.value.epochs);
        if (json) printJson({ type: 'run', run: update.value });
        else if (update.value.state !== 'training') print(`${update.value.runId}: ${update.value.state}, ${update.value.detail}`);
      } else if (json) print(update.value);
      else narrate?.(JSON.parse(update.value) as Parameters<typeof narrate>[0]);
    }
  });
}

async function command(given: Given, act: (client: RunClient) => Promise<Run>): Promise<void> {
  const run = await withClient(given, act);
  if (given['json'] === true) printJson(run);
  else print(describe(run));
}

/** A run and its workers, for a terminal. */
export function describe(run: Run): string {
  const head = `${run.runId}: ${run.state}${run.detail ? `, ${run.detail}` : ''}\nstep ${run.position?.step ?? 0} of ${run.stepCount}, generation ${run.generation}, ${run.restarts} ${run.restarts === 1 ? 'worker' : 'workers'} lost so far`;
  const rows = run.workers.map((worker) => [worker.workerId, worker.address, worker.state, worker.rank < 0 ? '–' : String(worker.rank), worker.cores || '–', worker.phase, String(Math.round(worker.samples)), `${(worker.silentMs / 1000).toFixed(1)} s`]);
  const workers = rows.length === 0 ? '' : `\n${table([['worker', 'address', 'state', 'rank', 'cores', 'phase', 'pictures', 'last heard'], ...rows])}`;
  return `${head}${describeSettings(run)}${workers}${run.straggler ? `\nThe others wait for ${run.straggler}` : ''}`;
}

function describeSettings({ settings }: Run): string {
  const rates = (settings?.groups ?? []).flatMap(({ name, learningRate }) => (learningRate === undefined ? [] : [`${name} ${learningRate}`]));
  const waiting = settings?.waiting ?? 0;
  return `${rates.length === 0 ? '' : `\nlearning rates: ${rates.join(', ')}`}${waiting === 0 ? '' : `\n${waiting} ${waiting === 1 ? 'change waits' : 'changes wait'} for the next step`}`;
}
