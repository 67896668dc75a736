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
  const live = (name: string, description: string, act: (named: string, given: Given) => Promise<void>) =>
    withSecurity(runs.command(`${name} [run]`), 'client')
      .description(description)
      .requiredOption('--coordinator <address>', 'host:port of the coordinator', process.env['CHAMELEON_COORDINATOR'])
      .option('--json', 'print it as JSON')
      .addHelpText('after', `\nExample:\n  chameleon runs ${name} --coordinator 10.0.0.5:50051`)
      .action((named: string | undefined, given: Given) => act(named ?? '', given));
  live('watch', 'Follow a run: its facts as they are written down.', watch);
  live('stop', 'End a run after the step at hand, with a checkpoint.', (named, given) => command(given, (client) => client.stop(named)));
  live('checkpoint', 'Leave a checkpoint after the step at hand.', (named, given) => command(given, (client) => client.checkpoint(named)));
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
  const rows = run.workers.map((worker) => [worker.workerId, worker.address, worker.state, worker.rank < 0 ? '–' : String(worker.rank), worker.phase, String(Math.round(worker.samples)), `${(worker.silentMs / 1000).toFixed(1)} s`]);
  const workers = rows.length === 0 ? '' : `\n${table([['worker', 'address', 'state', 'rank', 'phase', 'pictures', 'last heard'], ...rows])}`;
  return `${head}${workers}${run.straggler ? `\nThe others wait for ${run.straggler}` : ''}`;
}
