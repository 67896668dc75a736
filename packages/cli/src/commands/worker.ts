import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { type BackendName, UserError } from '@chameleon/core';
import { DEFAULT_CACHE_BYTES, RunMetrics, type WorkerWatcher, defaultDataCache, keepToShare, runWorker, serveMetrics } from '@chameleon/trainer';
import { type Command, Option } from 'commander';
import { atLeastOne, readMetrics, readSecurity, shareOf, withMetrics, withSecurity } from '../distributed-settings.js';
import { type Device, chooseDevice } from '../engine.js';
import { remark } from '../output.js';
import { type Given, number } from '../settings.js';
import { engineFor } from './serve.js';

export function addWorker(program: Command): void {
  withMetrics(withSecurity(program.command('worker'), 'client'))
    .description('Take part in a run that a coordinator holds together: join it, train, leave.')
    .option('--coordinator <address>', 'host:port (default: CHAMELEON_COORDINATOR, or MASTER_ADDR and MASTER_PORT)')
    .option('--id <name>', "names this worker among the run's (default: made of the machine's name)")
    .option('--node <name>', "what fails together with it (default: the machine's name, and LOCAL_RANK)")
    .option('--data <folder>', "where the pictures lie here, if not where the coordinator has them")
    .addOption(new Option('--data-cache <folder>', "where files go that this machine lacks and gets from the coordinator's (default: data in the user's cache folder)").env('CHAMELEON_DATA_CACHE'))
    .addOption(new Option('--data-cache-size <GB>', 'all of them together; those used longest ago make room').env('CHAMELEON_DATA_CACHE_SIZE').argParser(number).default(DEFAULT_CACHE_BYTES / 1e9))
    .option('--address <ip>', "this machine's address for the others (default: the one that routes to the coordinator)")
    .option('--backend <name>', 'what computes (default: the best that loads)', 'auto')
    .addOption(new Option('--device <name>', 'where libtorch computes (default: cpu)').choices(['cpu', 'cuda']).env('CHAMELEON_DEVICE'))
    .option('--threads <n>', 'threads that compute (default: the cores)', atLeastOne)
    .option('--share <i/n>', "keep to the i-th of n equal parts of this machine's cores, counted from 0: for several workers on one machine", shareOf)
    .option('--loader-threads <n>', 'threads that decode pictures', atLeastOne, 2)
    .option('--patience <s>', 'seconds to wait for a coordinator that does not answer', atLeastOne, 30)
    .option('--attached', 'leave when standard input ends: for whoever starts workers')
    .addHelpText('after', `
Where the coordinator's folder of pictures is not there, the files are fetched from its machine, checked and kept.

Examples:
  chameleon worker --coordinator 10.0.0.5:50051
  chameleon worker --coordinator 10.0.0.5:50051 --data-cache /scratch/chameleon --data-cache-size 50`)
    .action((given: Given) => work(given));
}

async function work(given: Given): Promise<void> {
  const leave = new AbortController();
  const onSignal = () => {
    if (leave.signal.aborted) process.exit(130);
    remark('Leaving after this step; once more to leave at once.');
    leave.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  if (given['attached'] === true) process.stdin.on('end', () => leave.abort(new Error('whoever started this worker is gone'))).on('error', () => undefined).resume();
  const place = placeOf(given, process.env);
  const metrics = workerMetrics(place.id);
  const where = readMetrics(given);
  await using served = where ? await serveMetrics(metrics, where.port, where.host) : null;
  if (served) remark(`metrics at ${served.url}`);
  const cores = keepCores(given['share'] as ReturnType<typeof shareOf> | undefined);
  const engine = await engineFor(given['backend'] as BackendName | 'auto');
  await chooseDevice((given['device'] as Device | undefined) ?? 'cpu', engine.backend as BackendName);
  try {
    const { reason, failed } = await runWorker({
      ...place,
      watcher: metrics,
      security: await readSecurity(given),
      engine,
      threads: (given['threads'] as number | undefined) ?? cores,
      loaderThreads: given['loaderThreads'] as number,
      ...(given['data'] ? { data: given['data'] as string } : {}),
      dataCache: { folder: (given['dataCache'] as string | undefined) ?? defaultDataCache().folder, maxBytes: (given['dataCacheSize'] as number) * 1e9 },
      ...(given['address'] ? { address: given['address'] as string } : {}),
      patienceMs: (given['patience'] as number) * 1000,
      signal: leave.signal,
      log: remark,
    });
    remark(`done: ${reason}`);
    if (failed) process.exitCode = 1;
  } catch (error) {
    if (leave.signal.aborted && !(error instanceof UserError)) return;
    throw error;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    process.stdin.destroy();
    // An exchange that hangs in native code must not keep the process.
    setTimeout(() => process.exit(), 3_000).unref();
  }
}

/** Before anything counts the cores. Gives how many are this worker's own, or null where they are shared. */
function keepCores(share: ReturnType<typeof shareOf> | undefined): number | null {
  if (share === undefined) return null;
  const cores = keepToShare(share.index, share.count);
  if (cores === null) remark(`no cores of its own: that needs Linux, taskset, and at least ${share.count} cores`);
  return cores;
}

/** A worker's metrics: empty until it knows its run. */
function workerMetrics(worker: string): WorkerWatcher & Pick<RunMetrics, 'expose'> {
  let metrics = new RunMetrics({ run: '', worker: null });
  return {
    joined: (run) => void (metrics = new RunMetrics({ run, worker: null })),
    fact: (fact) => metrics.observe(fact),
    heartbeat: (heartbeat) => metrics.observeWorker(worker, heartbeat),
    expose: () => metrics.expose(),
  };
}

/** Who and where a worker is: flags first, then what torchrun, Slurm and JobSet set. */
export function placeOf(given: Given, environment: NodeJS.ProcessEnv): { coordinator: string; id: string; node: string } {
  const { MASTER_ADDR: address, MASTER_PORT: port, LOCAL_RANK, SLURM_LOCALID, CHAMELEON_COORDINATOR } = environment;
  const coordinator = (given['coordinator'] as string | undefined) ?? CHAMELEON_COORDINATOR ?? (address && port ? `${address}:${port}` : undefined);
  if (coordinator === undefined) throw new UserError('Say where the coordinator is: --coordinator host:port.', { exitCode: 2 });
  const local = LOCAL_RANK ?? SLURM_LOCALID;
  const place = local === undefined ? hostname() : `${hostname()}/${local}`;
  return {
    coordinator,
    node: (given['node'] as string | undefined) ?? place,
    id: (given['id'] as string | undefined) ?? `${place}-${randomBytes(2).toString('hex')}`,
  };
}
