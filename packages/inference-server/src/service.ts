import { availableParallelism } from 'node:os';
import type { RequestListener } from 'node:http';
import type { Logger } from 'pino';
import type { EngineChoice, PrecisionChoice } from './compute/messages.js';
import { DecodePool } from './decode/decode-pool.js';
import { createApp } from './http/app.js';
import type { AppContext, Shell } from './http/context.js';
import type { Limits } from './http/limits.js';
import { ROUTES } from './http/routes.js';
import { ServerMetrics } from './metrics.js';
import { ModelRepository, type ModelSource, type RepositoryOptions } from './models/repository.js';
import { type Canary, type CanaryBounds, DEFAULT_CANARY_BOUNDS } from './models/traffic.js';
import type { Problem } from './problems.js';

/** What computes behind a port: models in this process, or replicas of it. */
export interface Service {
  metrics: ServerMetrics;
  /** Loads and warms every model. @throws UserError when one can't be loaded; the others are served */
  load(): Promise<void>;
  /** Why no requests should come yet, or null. */
  notReady(): string | null;
  app(shell: Omit<Shell, 'metrics' | 'document'>): RequestListener;
  /** Refuses what is under way, and ends the threads or processes. */
  close(reason: Problem): Promise<void>;
}

export interface ServiceOptions {
  models: readonly ModelSource[];
  /** Of models that are known already; set once they are loaded. */
  canaries?: readonly { name: string; canary: Canary }[];
  engine: EngineChoice;
  precision?: PrecisionChoice | undefined;
  maxBatch?: number | undefined;
  maxQueue?: number | undefined;
  maxDelayMs?: number | undefined;
  threads?: number | undefined;
  decodeThreads?: number | undefined;
  limits: Limits;
  modelsRoot?: string | undefined;
  canaryBounds?: Partial<CanaryBounds> | undefined;
}

export const DEFAULT_MAX_QUEUE = 128;

/** Serves with this process's own threads. */
export function openService(options: ServiceOptions, log: Logger, onRollback: RepositoryOptions['onRollback'] = () => undefined): Service & { repository: ModelRepository } {
  const { engine, precision = 'auto', threads = availableParallelism(), decodeThreads = availableParallelism(), maxBatch = 16, maxQueue = DEFAULT_MAX_QUEUE, maxDelayMs = 5, modelsRoot = null, limits } = options;
  const metrics: ServerMetrics = new ServerMetrics(() => repository.queueLengths());
  const repository = new ModelRepository({ compute: { engine, precision, threads, computeTimeoutMs: limits.computeMs }, batcher: { maxBatch, maxQueue, maxDelayMs }, canaryBounds: { ...DEFAULT_CANARY_BOUNDS, ...options.canaryBounds }, modelsRoot, metrics, log, random: Math.random, onRollback });
  const decoder = new DecodePool({ threads: decodeThreads, timeoutMs: limits.decodeMs });
  return {
    metrics,
    repository,
    load: async () => {
      await loadAll(repository, options.models);
      for (const { name, canary } of options.canaries ?? []) repository.setCanary(name, canary);
    },
    notReady: () => repository.notReady(),
    app: (shell) => createApp<AppContext>({ ...shell, metrics, services: { repository, decoder, metrics, maxPixels: limits.pixels } }, ROUTES),
    close: async (reason) => void (await Promise.all([repository.close(reason), decoder.close()])),
  };
}

/** Models are loaded one after another: each has the cores for itself, and versions come in the order given. */
async function loadAll(repository: ModelRepository, models: readonly ModelSource[]): Promise<void> {
  let failure: unknown = null;
  for (const source of models) {
    try {
      await repository.add(source);
    } catch (error) {
      failure ??= error;
    }
  }
  if (failure !== null) throw failure as Error;
}
