import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CoordinatorOptions, type CoordinatorOutcome, type CoordinatorSurroundings, DEFAULT_DETECTION_MS, type LocalWorkers, RunMetrics, type RunEvent, type RunPlace, type RunningCoordinator, type SshWorker, launchLocal, readEvents, readJoinToken, serveMetrics, startCoordinator } from '@chameleon/trainer';
import { placeOfRun } from './commands/coordinator.js';
import { readMetrics } from './distributed-settings.js';
import type { Engine } from './engine.js';
import { interruption } from './interruption.js';
import { print, printJson, remark, runNarrator } from './output.js';
import { writeReport } from './reports.js';
import type { Given } from './settings.js';

/** How long the workers of this machine are waited for before those that are there begin. */
const START_WINDOW_MS = 20_000;
const RESTARTS_A_WORKER = 3;

/** `train --workers n`: a coordinator in this process, and n workers of this machine. */
export async function trainWithWorkers(given: Given, count: number): Promise<void> {
  using stop = interruption();
  const json = given['json'] === true;
  const { place, epochs, engine } = await placeOfRun(given);
  const threads = threadsEach(count, given['threads'] as number | undefined);
  if (!json) remark(`computing with ${engine.backend}: ${count} ${count === 1 ? 'worker' : 'workers'}, ${threads} ${threads === 1 ? 'thread' : 'threads'} each`);
  const outcome = await runWithWorkers(place, {
    count, threads, engine, metrics: readMetrics(given), verbose: !json,
    observe: json ? printJson : runNarrator(epochs),
    signal: stop.signal,
    onMetrics: (url) => !json && remark(`metrics at ${url}`),
    ...(typeof given['listen'] === 'string' ? { listen: { address: given['listen'], token: await readJoinToken(undefined) }, onListening: (address) => (json ? printJson({ type: 'listening', address }) : remark(`change it while it trains: chameleon runs set-rate --coordinator ${address} …`)) } : {}),
  });
  await finishRun(outcome, json);
}

/** The cores, or the threads that were asked for, in equal parts. */
export const threadsEach = (count: number, threads = availableParallelism()): number => Math.max(1, Math.floor(threads / count));

export interface WorkersOfThisMachine {
  count: number;
  /** Of each. */
  threads: number;
  engine: Engine;
  metrics: ReturnType<typeof readMetrics>;
  /** Says which worker fell, and why. */
  verbose: boolean;
  observe: (event: RunEvent) => void;
  signal: AbortSignal;
  onMetrics?: (url: string) => void;
  /** Where the coordinator listens, and its token; by default anywhere, for the run's own workers alone. */
  listen?: { address: string; token: string | null };
  /** Told where it can be asked. */
  onListening?: (address: string, token: string | null) => Promise<void> | void;
}

/** Trains one run with workers of this machine, which are started anew when they die, and ends them. */
export async function runWithWorkers(place: RunPlace, { count, threads, engine, metrics, verbose, observe, signal, onMetrics, onListening, listen = { address: '127.0.0.1:0', token: randomBytes(32).toString('hex') } }: WorkersOfThisMachine): Promise<CoordinatorOutcome> {
  const { token } = listen;
  const running = await startMeasuredCoordinator(place, { listen: listen.address, security: { token, tls: null }, minWorkers: 1, maxWorkers: count, joinWindowMs: START_WINDOW_MS, detectionMs: DEFAULT_DETECTION_MS, maxFailures: 2 * RESTARTS_A_WORKER, balance: false, exchange: engine.exchange }, { backend: engine.description, observe, signal }, metrics);
  if (running.metricsUrl) onMetrics?.(running.metricsUrl);
  let workers: LocalWorkers | null = null;
  try {
    await onListening?.(`${running.host}:${running.port}`, token);
    workers = startWorkers({ count, threads, address: `${running.host}:${running.port}`, token, backend: engine.backend, verbose });
    return await Promise.race([running.outcome, workers.lost]);
  } finally {
    await workers?.close();
    await running.close();
  }
}

/** A coordinator whose run's figures are served for Prometheus, where a port is given for that. */
export async function startMeasuredCoordinator(place: RunPlace, options: CoordinatorOptions, { observe, ...surroundings }: CoordinatorSurroundings & Required<Pick<CoordinatorSurroundings, 'observe'>>, where: ReturnType<typeof readMetrics>): Promise<RunningCoordinator & { metricsUrl: string | null }> {
  let metrics: RunMetrics | null = null;
  const running = await startCoordinator(place, options, { ...surroundings, observe: (event) => (observe(event), metrics?.observe(event)), onHeartbeat: (worker, heartbeat) => metrics?.observeWorker(worker, heartbeat) });
  metrics = new RunMetrics({ run: running.id, worker: null });
  try {
    const served = where && (await serveMetrics(metrics, where.port, where.host));
    const close = async () => {
      await served?.[Symbol.asyncDispose]();
      await running.close();
    };
    return { ...running, close, metricsUrl: served?.url ?? null };
  } catch (error) {
    await running.close();
    throw error;
  }
}

function startWorkers({ count, threads, address, token, backend, verbose }: { count: number; threads: number; address: string; token: string | null; backend: string; verbose: boolean }): LocalWorkers {
  const program = fileURLToPath(new URL('../bin/chameleon.js', import.meta.url));
  return launchLocal({
    count,
    command: (slot, attempt) => [process.execPath, [program, 'worker', '--attached', '--coordinator', address, '--id', attempt === 0 ? `worker-${slot}` : `worker-${slot}.${attempt}`, '--node', `worker-${slot}`, '--threads', String(threads), '--loader-threads', String(threads), '--backend', backend, ...(count > 1 ? ['--share', `${slot}/${count}`] : [])]],
    env: { ...process.env, CHAMELEON_JOIN_TOKEN: token ?? '', OMP_NUM_THREADS: String(threads) },
    maxRestarts: RESTARTS_A_WORKER,
    onLine: (slot, line) => verbose && /error|killed|ended with code [1-9]/.test(line) && remark(`worker-${slot}: ${line}`),
  });
}

/** Starts workers by way of ssh, and streams their words back with their names before them. */
export function startSshWorkers(workers: readonly SshWorker[], token: string): LocalWorkers {
  return launchLocal({ count: workers.length, command: (slot) => workers[slot]!.command, env: process.env, firstLine: token, maxRestarts: RESTARTS_A_WORKER, onLine: (slot, line) => remark(`${workers[slot]!.id}: ${line}`) });
}

/** Says how a run ended and where everything lies; 130 where it was interrupted. */
export async function finishRun({ path, reason, step }: CoordinatorOutcome, json: boolean): Promise<void> {
  if (reason === 'interrupted') {
    process.exitCode = 130;
    if (!json) remark(`Interrupted after step ${step}. A checkpoint is left: go on with\n  chameleon train --resume ${path}`);
    return;
  }
  const report = await writeReport(path);
  if (json) return;
  const epochs = (await readEvents(path)).filter((event) => event.type === 'epoch');
  const best = epochs.reduce((a, b) => (b.validAccuracy >= a.validAccuracy ? b : a));
  print(`\nBest validation accuracy ${best.validAccuracy.toFixed(4)}, in epoch ${best.epoch + 1}${reason === 'stopped early' ? '; stopped early' : ''}.`);
  print(`Run     ${path}\nModel   ${join(path, 'model')}\nReport  ${report}`);
}
