import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir, availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { MetricSnapshot } from '../metrics.js';
import type { ModelSource, ModelState, Rollback } from '../models/repository.js';
import { DEFAULT_MAX_QUEUE, type ServiceOptions } from '../service.js';
import { countGpus, divide, gpuOf } from './divide.js';
import { ReplicaProcess } from './replica-process.js';
import { withoutGauges } from './together.js';

/** ms after which a replica that was lost is followed by another; doubled with each loss in a row, up to the second figure. */
const RESTART_MS = 100, SLOWEST_RESTART_MS = 10_000;
/** A replica that lived so long ends a row of losses, ms. */
const STEADY_MS = 30_000;
/** ms between the questions whether a replica still lives, and until one that says nothing is ended. */
const ALIVE_EVERY_MS = 5_000, ALIVE_WITHIN_MS = 20_000;

export interface FleetOptions {
  service: ServiceOptions;
  replicas: number;
  log: Logger;
}

/**
 * The replicas: equal parts of the machine, each with all models. One that ends is replaced by one that loads what the others serve
 * now, so changes of what is served and starts of replicas happen one after the other, never at once.
 */
export class Fleet {
  readonly #slots: (ReplicaProcess | null)[];
  readonly #closing = new AbortController();
  readonly #shares: { threads: number[]; decodeThreads: number[]; maxQueue: number[] };
  readonly #socketFolder = mkdtemp(join(tmpdir(), 'chameleon-replicas-'));
  #models: ModelState[] | null = null;
  #departed: Promise<MetricSnapshot> = Promise.resolve([]);
  #lost = 0;
  #lossesInARow = 0;
  #nextSocket = 1;
  #nextPick = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #watch: NodeJS.Timeout | undefined;

  constructor(private readonly options: FleetOptions) {
    const { replicas, service: { threads = availableParallelism(), decodeThreads = availableParallelism(), maxQueue = DEFAULT_MAX_QUEUE } } = options;
    this.#slots = Array.from({ length: replicas }, () => null);
    this.#shares = { threads: divide(threads, replicas), decodeThreads: divide(decodeThreads, replicas), maxQueue: divide(maxQueue, replicas) };
  }

  /** Those that answer, in the order of their places. */
  get ready(): ReplicaProcess[] {
    return this.#slots.filter((replica) => replica !== null && !replica.ended) as ReplicaProcess[];
  }

  /** How many there should be, and how many were lost so far. */
  get counts(): { wanted: number; ready: number; lost: number } {
    return { wanted: this.#slots.length, ready: this.ready.length, lost: this.#lost };
  }

  /** The replica with the fewest requests under way, of equal ones a different one each time; null when there is none but `tried`. */
  pick(tried: ReadonlySet<ReplicaProcess>): ReplicaProcess | null {
    const able = this.ready.filter((replica) => !tried.has(replica));
    const fewest = Math.min(...able.map(({ outstanding }) => outstanding));
    const idle = able.filter(({ outstanding }) => outstanding === fewest);
    return idle.length === 0 ? null : idle[this.#nextPick++ % idle.length]!;
  }

  /** Starts all of them. @throws UserError when a model can't be loaded */
  async start(): Promise<void> {
    await this.#inTurn(async () => {
      const started = await Promise.allSettled(this.#slots.map((_, index) => this.#start(index)));
      const failed = started.find((one) => one.status === 'rejected');
      if (failed) throw failed.reason as Error;
      await this.#remember();
    });
    this.#watch = setInterval(() => void this.#askWhetherAlive(), ALIVE_EVERY_MS);
    this.#watch.unref();
  }

  /** Changes what is served, on all replicas: nobody else does, and no replica starts, meanwhile. */
  operate<Result>(work: (replicas: readonly ReplicaProcess[], before: readonly ModelState[]) => Promise<Result>): Promise<Result> {
    return this.#inTurn(async () => {
      try {
        return await work(this.ready, this.#models ?? []);
      } finally {
        await this.#remember();
      }
    });
  }

  /** The figures of all of them, also of those that are gone. */
  async metrics(): Promise<MetricSnapshot[]> {
    await Promise.all(this.ready.map(async (replica) => {
      replica.lastMetrics = (await replica.ask('metrics')) ?? replica.lastMetrics;
    }));
    return [...this.ready.map(({ lastMetrics }) => lastMetrics), await this.#departed];
  }

  async close(): Promise<void> {
    clearInterval(this.#watch);
    this.#closing.abort(new Error('the server is stopping'));
    await this.#turn.catch(() => undefined);
    await Promise.all(this.#slots.flatMap((replica) => (replica ? [replica.stop()] : [])));
    await rm(await this.#socketFolder, { recursive: true, force: true });
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** What the first replica serves is what all do. */
  async #remember(): Promise<void> {
    this.#models = (await this.ready[0]?.ask('models')) ?? this.#models;
  }

  async #start(index: number): Promise<void> {
    const { service, log } = this.options;
    const socketPath = join(await this.#socketFolder, `${this.#nextSocket++}.sock`);
    const shares = { threads: this.#shares.threads[index]!, decodeThreads: this.#shares.decodeThreads[index]!, maxQueue: this.#shares.maxQueue[index]! };
    const startedMs = performance.now();
    const replica: ReplicaProcess = await ReplicaProcess.start({
      setup: { socketPath, index, logLevel: log.level, service: { ...plain(service), ...shares, ...sourcesOf(this.#models, service.models) } },
      environment: gpuOf(index, process.env['CUDA_VISIBLE_DEVICES'], countGpus()),
      onRollback: (rollback) => void this.#rollBackAll(rollback, replica),
      onLost: (reason) => this.#onLost(replica, reason),
    }, this.#closing.signal);
    this.#slots[index] = replica;
    log.info({ replica: index, replicaPid: replica.pid, startMs: Math.round(performance.now() - startedMs), ...shares }, 'a replica is ready');
    setTimeout(() => {
      if (!replica.ended) this.#lossesInARow = 0;
    }, STEADY_MS).unref();
  }

  #onLost(replica: ReplicaProcess, reason: string): void {
    const { index, pid, lastMetrics } = replica;
    this.#slots[index] = null;
    this.#lost++;
    this.options.log.error({ replica: index, replicaPid: pid, reason }, 'a replica was lost; another is started');
    this.#departed = this.#departed.then((departed) => withoutGauges([departed, lastMetrics]));
    this.#replace(index);
  }

  /** Tries until there is one again, or the server stops. */
  #replace(index: number): void {
    if (this.#closing.signal.aborted) return;
    const waitMs = Math.min(SLOWEST_RESTART_MS, RESTART_MS * 2 ** this.#lossesInARow++);
    setTimeout(() => {
      this.#inTurn(() => this.#start(index)).catch((error: unknown) => {
        if (this.#closing.signal.aborted) return;
        this.options.log.error({ replica: index, err: error }, 'a replica could not be started; it is tried again');
        this.#replace(index);
      });
    }, waitMs).unref();
  }

  /** What one replica has seen of a canary is enough for all. */
  async #rollBackAll(rollback: Rollback, by: ReplicaProcess): Promise<void> {
    this.options.log.warn({ ...rollback, replica: by.index }, 'the canary was taken back');
    await this.operate(async (replicas) => {
      for (const replica of replicas) if (replica !== by) replica.rollBack(rollback);
    });
  }

  async #askWhetherAlive(): Promise<void> {
    await Promise.all(this.ready.map(async (replica) => {
      if ((await replica.ask('alive', ALIVE_WITHIN_MS)) !== null || replica.ended || this.#closing.signal.aborted) return;
      this.options.log.error({ replica: replica.index, replicaPid: replica.pid }, `a replica has said nothing for ${ALIVE_WITHIN_MS} ms: it is ended`);
      replica.kill();
    }));
  }
}

/** What is served now, or at first what the server was started with. */
function sourcesOf(state: readonly ModelState[] | null, given: readonly ModelSource[]): Pick<ServiceOptions, 'models' | 'canaries'> {
  if (state === null) return { models: given };
  return {
    models: state.flatMap(({ name, versions }) => versions.map(({ version, folder }) => ({ name, version, path: folder }))),
    canaries: state.flatMap(({ name, canary }) => (canary ? [{ name, canary }] : [])),
  };
}

/** Only what a service takes, and can travel to another process. */
const plain = ({ models, engine, precision, maxBatch, maxDelayMs, limits, modelsRoot, canaryBounds }: ServiceOptions): ServiceOptions => ({ models, engine, precision, maxBatch, maxDelayMs, limits, modelsRoot, canaryBounds });
