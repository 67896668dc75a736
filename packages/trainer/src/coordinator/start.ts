import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { UserError } from '@chameleon/core';
import { type ReadIndex, makeManifest, manifestSchema, readShardIndex, stepCount } from '@chameleon/data';
import { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { TrainConfig } from '../config.js';
import type { RunEvent } from '../events.js';
import type { ExchangeKind } from '../exchange/exchange.js';
import { readIfThere, sha256, sha256OfFile } from '../files.js';
import { RunServiceService, WorkerServiceService } from '../generated/chameleon/trainer/v1/trainer.js';
import { VERSION, describeMachine } from '../machine.js';
import { FILES, RunDirectory, readEvents, runId } from '../run-directory.js';
import { type TrainSurroundings, openConfigured, readConfig } from '../train.js';
import { timingOf } from '../timing.js';
import { fileOfWeights } from '../weights/resolve.js';
import { hostPort, parseHostPort } from '../worker/address.js';
import { Coordinator, type CoordinatorOutcome, type CoordinatorParts } from './coordinator.js';
import { RunLog } from './run-log.js';
import type { FileSource } from './file-service.js';
import { type Security, requireSecurity, serverCredentials, tokenInterceptor } from './security.js';
import { FactStream, reflectionService, runService, workerService } from './services.js';
import { type CoordinatorState, readState } from './state-file.js';

export interface CoordinatorOptions {
  /** host:port; port 0 is any that is free. */
  listen: string;
  security: Security;
  minWorkers: number;
  maxWorkers: number;
  detectionMs: number;
  /** How long workers that come one after the other are gathered; by default the detection time. */
  joinWindowMs?: number;
  /** Losses of a node within ten minutes after which it is left out. */
  maxFailures: number;
  balance: boolean;
  exchange: ExchangeKind;
}

const FAILURE_WINDOW_MS = 600_000;

/** A coordinator that listens. */
export interface RunningCoordinator {
  /** Where workers reach it. */
  host: string;
  port: number;
  path: string;
  id: string;
  config: TrainConfig;
  outcome: Promise<CoordinatorOutcome>;
  coordinator: Coordinator;
  close(): Promise<void>;
}

export interface CoordinatorSurroundings extends Pick<TrainSurroundings, 'backend' | 'observe' | 'onProgress' | 'signal'> {
  /** Told of each worker's heartbeats. */
  onHeartbeat?: NonNullable<CoordinatorParts['onHeartbeat']>;
}

/** Where a run is: a new one, or one that is gone on with. */
export type RunPlace = { config: TrainConfig; out: string; path?: string } | { resume: string };

/** Opens or makes the run, and listens for workers and people. @throws UserError */
export async function startCoordinator(place: RunPlace, options: CoordinatorOptions, surroundings: CoordinatorSurroundings): Promise<RunningCoordinator> {
  const { host, port } = parseHostPort(options.listen);
  requireSecurity(host, options.security);
  const facts = new FactStream();
  const observe = (event: RunEvent) => {
    facts.publish(event);
    surroundings.observe?.(event);
  };
  const opened = await openRun(place, surroundings, observe);
  const { run } = opened;
  try {
    const weights = await findWeights(opened.config.weights);
    const coordinator = await makeCoordinator(opened, weights, options, surroundings);
    const files: FileSource = { runId: run.id, root: opened.config.data, manifest: manifestSchema.parse(JSON.parse(Buffer.from(opened.manifest).toString())), shards: opened.shards, weights };
    const server = await makeServer(coordinator, facts, opened.manifest, files, options.security);
    const bound = await listen(server, host, port, options.security);
    const onStop = () => coordinator.stop('interrupted');
    surroundings.signal?.addEventListener('abort', onStop, { once: true });
    if (surroundings.signal?.aborted) onStop();
    let closed: Promise<void> | null = null;
    const shut = async () => {
      surroundings.signal?.removeEventListener('abort', onStop);
      coordinator.close();
      await shutDown(server);
      await run[Symbol.asyncDispose]();
    };
    return { host, port: bound, path: run.path, id: run.id, config: opened.config, outcome: coordinator.outcome, coordinator, close: () => (closed ??= shut()) };
  } catch (error) {
    await run[Symbol.asyncDispose]();
    throw error;
  }
}

interface OpenedRun {
  run: RunDirectory;
  config: TrainConfig;
  classes: string[];
  trainCount: number;
  /** manifest.json as it lies in the run's directory: what workers prove their pictures by. */
  manifest: Uint8Array;
  /** The index of the shards that the pictures lie in; null where each is a file. */
  shards: ReadIndex | null;
  log: RunLog;
  recovered: CoordinatorState | null;
}

async function openRun(place: RunPlace, surroundings: CoordinatorSurroundings, observe: (event: RunEvent) => void): Promise<OpenedRun> {
  return 'resume' in place ? resumeRun(place.resume, observe) : createRun(place, surroundings, observe);
}

/** Goes on with a run: quickly, for workers may be waiting. That the pictures are the same is theirs to prove. */
async function resumeRun(path: string, observe: (event: RunEvent) => void): Promise<OpenedRun> {
  const [config, recovered, manifest] = await Promise.all([readConfig(path), readState(path), readIfThere(join(path, FILES.manifest))]);
  if (recovered?.finished) throw new UserError(`The run in ${path} is done. Its model is in ${join(path, FILES.model)}.`);
  if (!manifest) throw new UserError(`The run in ${path} was cut off before it had looked at its pictures: it has no ${FILES.manifest}. Start a new one.`);
  const { classes, files } = manifestSchema.parse(JSON.parse(manifest.toString()));
  const run = await RunDirectory.open(path);
  return { run, config, classes, trainCount: files.filter(({ side }) => side === 'train').length, manifest, shards: await readShardIndex(config.data), recovered, log: new RunLog(run, observe, await readEvents(path)) };
}

async function createRun({ config, out, path }: Exclude<RunPlace, { resume: string }>, surroundings: CoordinatorSurroundings, observe: (event: RunEvent) => void): Promise<OpenedRun> {
  const dataset = await openConfigured(config, surroundings);
  const run = await RunDirectory.create(path ?? join(out, runId(config.recipe.name, new Date())), config, { version: VERSION, backend: surroundings.backend, machine: describeMachine() });
  const manifest = Buffer.from(`${JSON.stringify(await makeManifest(dataset, surroundings.signal), null, 1)}\n`);
  await run.write(FILES.manifest, manifest);
  const log = new RunLog(run, observe, []);
  for (const skipped of dataset.skipped) log.append({ type: 'skip', ...skipped });
  log.append({ type: 'start', trainCount: dataset.train.length, validCount: dataset.valid.length, classes: dataset.classes, stepCount: stepsOf(config, dataset.train.length), backend: surroundings.backend });
  return { run, config, classes: dataset.classes, trainCount: dataset.train.length, manifest, shards: dataset.shards, recovered: null, log };
}

const stepsOf = (config: TrainConfig, trainCount: number): number => config.epochs * stepCount(trainCount, config.batchSize, config.dropLast);

/** The file that the run starts from; null for random numbers, and where it is gone and a checkpoint has to do. */
async function findWeights(named: string): Promise<{ path: string; bytes: number; sha256: string } | null> {
  const path = await fileOfWeights(named);
  return path === null ? null : { path, bytes: (await stat(path)).size, sha256: await sha256OfFile(path) };
}

async function makeCoordinator({ run, config, classes, trainCount, manifest, shards, log, recovered }: OpenedRun, weights: Awaited<ReturnType<typeof findWeights>>, { minWorkers, maxWorkers, detectionMs, joinWindowMs, maxFailures, balance, exchange }: CoordinatorOptions, { onHeartbeat }: CoordinatorSurroundings): Promise<Coordinator> {
  const timing = timingOf(detectionMs);
  const configJson = JSON.stringify(await forOtherFolders(config));
  return new Coordinator({
    config, run, log, timing, recovered,
    ...(onHeartbeat ? { onHeartbeat } : {}),
    classes,
    stepCount: stepsOf(config, trainCount),
    welcome: { configJson, configSha256: sha256(Buffer.from(configJson)), manifestSha256: sha256(manifest), exchange, weightsSha256: weights?.sha256 ?? '', weightsBytes: weights?.bytes ?? 0, shardsSha256: shards?.sha256 ?? '', shardsBytes: shards?.bytes ?? 0 },
    membership: { batchSize: config.batchSize, minWorldSize: minWorkers, maxWorldSize: maxWorkers, joinWindowMs: joinWindowMs ?? timing.joinWindowMs, detectionMs, pauseMs: timing.pauseMs, abandonMs: timing.abandonMs, maxFailures, failureWindowMs: FAILURE_WINDOW_MS, balance },
  });
}

/** The configuration as a worker reads it that was started in another folder. */
async function forOtherFolders(config: TrainConfig): Promise<TrainConfig> {
  const isFile = (await stat(config.weights).catch(() => null))?.isFile() ?? false;
  return { ...config, data: resolve(config.data), weights: isFile ? resolve(config.weights) : config.weights };
}

/** Services that are asked before anybody has a token: they say nothing of a run. */
const OPEN_SERVICES = ['/grpc.health.v1.Health/', '/grpc.reflection.'];

async function makeServer(coordinator: Coordinator, facts: FactStream, manifest: Uint8Array, files: FileSource, { token }: Security): Promise<Server> {
  const server = new Server({
    ...(token === null ? {} : { interceptors: [tokenInterceptor(token, OPEN_SERVICES)] }),
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5_000,
  });
  server.addService(WorkerServiceService, workerService(coordinator, manifest, files));
  server.addService(RunServiceService, runService(coordinator, facts));
  new HealthImplementation({ '': 'SERVING', 'chameleon.trainer.v1.WorkerService': 'SERVING', 'chameleon.trainer.v1.RunService': 'SERVING' }).addToServer(server);
  reflectionService().addToServer(server);
  return server;
}

async function listen(server: Server, host: string, port: number, { tls }: Security): Promise<number> {
  const credentials = await serverCredentials(tls);
  const address = hostPort({ host, port });
  return new Promise((done, reject) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (!error) return done(bound);
      server.forceShutdown();
      reject(new UserError(`The coordinator can't listen on ${address}: ${error.message}. Another program may hold the port; choose another with --listen.`, { cause: error }));
    });
  });
}

/** Lets what was sent arrive, and waits for nobody for long. */
function shutDown(server: Server): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      done();
    }, 1_000);
    server.tryShutdown(() => {
      clearTimeout(timer);
      done();
    });
  });
}
