import { messageOf } from '@chameleon/core';
import type { ServiceError } from '@grpc/grpc-js';
import { codeDigest } from '../code-digest.js';
import { allowedCores } from '../cores.js';
import { type Security, channelCredentials, tokenMetadata } from '../coordinator/security.js';
import { PROTOCOL, type ToWorker } from '../coordinator/protocol.js';
import type { RunEvent } from '../events.js';
import { watchGpus } from '../gpu.js';
import { fromWire } from '../live/wire.js';
import type { ExchangeKind } from '../exchange/exchange.js';
import { type Ended, Ended_Reason, type Generation, type Gpu, type Heartbeat, type Welcome } from '../generated/chameleon/trainer/v1/trainer.js';
import { VERSION } from '../machine.js';
import type { Progress } from '../membership/membership.js';
import { type Timing, timingOf } from '../timing.js';
import { addressTowards, freePort, parseHostPort } from './address.js';
import { ComputeThread } from './compute-thread.js';
import { type Connection, type Target, connect, openClient } from './connection.js';
import { type DataCache, defaultDataCache } from './data-cache.js';
import { seesRunDirectory } from './data-proof.js';
import { type Provision, provision } from './provision.js';
import { type GaugeReading, Gauges } from './gauges.js';
import type { ComputeReply, ComputeSetup, EngineChoice, GenerationEnd } from './messages.js';

export interface WorkerOptions {
  /** host:port */
  coordinator: string;
  /** Names this worker among those of the run. */
  id: string;
  /** What fails together with it. */
  node: string;
  security: Omit<Security, 'insecure'>;
  engine: EngineChoice;
  threads: number | null;
  loaderThreads: number;
  /** Where the pictures lie here, if not where the coordinator has them. */
  data?: string;
  /** Where files go that this machine lacks and that are fetched from the coordinator's. */
  dataCache?: DataCache;
  /** This machine's address for the others; by default the one that routes to the coordinator. */
  address?: string;
  /** How long a coordinator that doesn't answer is waited for at the start. */
  patienceMs: number;
  /** Once aborted, the worker leaves after the step at hand. */
  signal: AbortSignal;
  /** Told of what this worker does, for its metrics. */
  watcher?: WorkerWatcher;
  /** A line for whoever watches this worker. */
  log: (line: string) => void;
}

export interface WorkerWatcher {
  joined: (run: string) => void;
  fact: (fact: RunEvent) => void;
  heartbeat: (heartbeat: Heartbeat) => void;
}

/** How a worker's part ended. */
export interface WorkerOutcome {
  reason: string;
  failed: boolean;
}

/** Facts of a generation that are kept, in case that rank 0 is lost before it told them. */
const FACTS_KEPT = 5_000;
/** How often it is looked whether a heartbeat is due; and how often one is, before the coordinator has said. */
const BEAT_MS = 50, FIRST_HEARTBEAT_MS = 500;
/** How long a leaving worker waits for the step at hand. */
const LEAVE_MS = 25_000;

/**
 * Takes part in a run until it is over, or this worker leaves. This is the network thread: it answers the coordinator at any
 * moment, while the compute thread is in the middle of a step.
 *
 * @throws UserError when the coordinator refuses this worker, is gone for good, or the data are others
 */
export async function runWorker(options: WorkerOptions): Promise<WorkerOutcome> {
  const { host, port } = parseHostPort(options.coordinator);
  const target: Target = { host, port, credentials: await channelCredentials(options.security.tls), metadata: tokenMetadata(options.security.token) };
  const worker = new NetworkSide(options, target);
  return worker.run();
}

/** What the worker knows of its run from the first welcome on. */
interface Assigned {
  welcome: Welcome;
  timing: Timing;
  address: string;
  seesRunDirectory: boolean;
  thread: ComputeThread;
  provided: Provision;
}

type LastEnd = Pick<Ended, 'reason' | 'detail' | 'finishJson' | 'recentFactsJson'>;

class NetworkSide {
  readonly #gauges = new Gauges();
  #connection: Connection | null = null;
  #assigned: Assigned | null = null;
  #generation: { number: number; rank: number } | null = null;
  #progress: Progress = { step: 0, epoch: 0 };
  #inMemory = false;
  #facts: string[] = [];
  #lastReading: GaugeReading | null = null;
  /** How the last generation ended here: told again where the coordinator may not have heard it. */
  #end: LastEnd = { reason: Ended_Reason.ABANDONED, detail: '', finishJson: '', recentFactsJson: [] };
  #phaseSeconds: Record<string, number> = {};
  #heartbeatMs = 0;
  #ackMs = 0;
  #watchdog: NodeJS.Timeout | null = null;
  #settle!: { resolve: (outcome: WorkerOutcome) => void; reject: (error: unknown) => void };
  readonly #outcome: Promise<WorkerOutcome>;
  #over = false;
  #gpus: Gpu[] = [];
  /** What is being done before there is a compute thread. */
  #preparing = 'joining';
  readonly #done = new AbortController();

  constructor(private readonly options: WorkerOptions, private readonly target: Target) {
    this.#outcome = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.#outcome.catch(() => undefined);
  }

  async run(): Promise<WorkerOutcome> {
    const { signal } = this.options;
    const onLeave = () => this.#leave();
    using _gpus = watchGpus((readings) => (this.#gpus = readings.map(({ index, utilization, memoryBytes, temperatureCelsius }) => ({ index, utilization: utilization ?? undefined, memoryBytes: memoryBytes ?? undefined, temperatureCelsius: temperatureCelsius ?? undefined }))));
    const beat = setInterval(() => this.#heartbeat(performance.now()), BEAT_MS);
    try {
      const opened = this.#open(this.options.patienceMs);
      opened.catch(() => undefined);
      // The run may end while this worker still gets ready.
      await Promise.race([opened, this.#outcome]);
      signal.addEventListener('abort', onLeave, { once: true });
      if (signal.aborted) onLeave();
      return await this.#outcome;
    } finally {
      this.#over = true;
      this.#done.abort(new Error('this worker is done'));
      clearInterval(beat);
      clearTimeout(this.#watchdog ?? undefined);
      signal.removeEventListener('abort', onLeave);
      const ended = (await this.#assigned?.thread.close()) ?? true;
      await this.#assigned?.provided.release();
      await this.#connection?.finish();
      if (!ended) endAtOnce(this.options.log);
    }
  }

  /** Reaches the coordinator, the first time or again, and says what this worker brings. */
  async #open(patienceMs: number): Promise<void> {
    const { id, node, signal } = this.options;
    const known = this.#assigned?.welcome;
    const hello = { protocol: PROTOCOL, version: VERSION, codeSha256: codeDigest(), workerId: id, node, runId: known?.runId ?? '', configSha256: known?.configSha256 ?? '', generation: this.#generation?.number ?? 0 };
    const connection = await connect(this.target, hello, { patienceMs, signal: this.#generation ? new AbortController().signal : signal });
    this.#connection = connection;
    this.#ackMs = performance.now();
    connection.listen((message) => void this.#receive(message), (error) => this.#lostStream(connection, error));
    this.#assigned ??= await this.#prepare(connection);
    // The coordinator was lost while this worker got ready, for instance by fetching files: it may be back.
    if (this.#connection !== connection) return this.#over ? undefined : this.#open(this.#assigned.timing.orphanMs);
    if (!known) this.options.watcher?.joined(connection.welcome.runId);
    const { address, seesRunDirectory } = this.#assigned;
    connection.send({ $case: 'ready', value: { address, port: await freePort(address), seesRunDirectory, position: this.#newest(), inMemory: this.#inMemory, cores: allowedCores() ?? '' } });
    if (this.#generation) this.#sendFacts(this.#generation.number, this.#facts);
    else if (hello.generation !== 0) await this.#tellEnd(hello.generation, this.#end);
    this.options.log(`worker ${id} is in the run ${connection.welcome.runId}`);
  }

  /** Data, address and compute thread, once. */
  async #prepare(connection: Connection): Promise<Assigned> {
    const { options, target } = this;
    const { welcome } = connection;
    const timing = timingOf(welcome.detectionMs);
    const signal = AbortSignal.any([options.signal, this.#done.signal]);
    // A channel of its own, which finds a coordinator again that was started anew.
    const client = openClient(target);
    let provided: Provision | null = null;
    try {
      provided = await provision({ client, metadata: target.metadata, welcome, data: options.data, cache: options.dataCache ?? defaultDataCache(), patienceMs: timing.orphanMs, signal, log: options.log, onPhase: (phase) => (this.#preparing = phase) });
      signal.throwIfAborted();
      const { config, manifest } = provided;
      const address = options.address ?? (await addressTowards(target.host, target.port));
      const sees = await seesRunDirectory(welcome.runDirectory, welcome.manifestSha256);
      const setup: ComputeSetup = {
        engine: options.engine, threads: options.threads, loaderThreads: options.loaderThreads, config, manifest, address,
        runId: welcome.runId, runDirectory: sees ? welcome.runDirectory : null,
        exchange: welcome.exchange as ExchangeKind, exchangeTimeoutMs: timing.exchangeTimeoutMs, gauges: this.#gauges.memory,
      };
      const thread = await ComputeThread.start(setup, { onReply: (reply) => void this.#computed(reply), onLost: (reason) => this.#unfit(reason) });
      this.#progress = thread.progress;
      return { welcome, timing, address, seesRunDirectory: sees, thread, provided };
    } catch (error) {
      await provided?.release();
      this.#connection?.send({ $case: 'leaving', value: { reason: messageOf(error), unfit: !signal.aborted } });
      await this.#connection?.finish();
      throw error;
    } finally {
      client.close();
    }
  }

  /** In the middle of a generation the gauges know better than the last report. */
  #newest(): Progress {
    if (!this.#generation) return this.#progress;
    const { step, epoch } = this.#gauges.read();
    return { step, epoch };
  }

  async #receive(message: ToWorker): Promise<void> {
    const thread = this.#assigned?.thread;
    switch (message.$case) {
      case 'welcome':
        return;
      case 'heartbeatAck':
        this.#ackMs = performance.now();
        return;
      case 'generation':
        return this.#begin(message.value);
      case 'pause':
        return thread?.send({ kind: 'pause', ...message.value });
      case 'abandon':
        return this.#abandon(message.value.generation, message.value.reason);
      case 'checkpoint':
        return thread?.send({ kind: 'checkpoint', ...message.value });
      case 'changes':
        return thread?.send({ kind: 'changes', changes: fromWire(message.value.changes) });
      case 'shutdown':
        return this.#conclude({ reason: message.value.reason, failed: message.value.failed });
      default:
        message satisfies never;
    }
  }

  #begin({ number, rank, split, holder, meetingHost, meetingPort, members, start, reason, changes }: Generation): void {
    this.#generation = { number, rank };
    this.#facts = [];
    this.options.log(`generation ${number}: rank ${rank} of ${members.length}, from step ${start?.step ?? 0} on (${reason})`);
    this.#assigned!.thread.send({ kind: 'generation', number, rank, split, holder, meeting: { host: meetingHost, port: meetingPort }, changes: fromWire(changes) });
  }

  /** The exchange is given up now; if even that hangs, this process is of no use any more. */
  async #abandon(generation: number, reason: string): Promise<void> {
    // It ended by itself while there was no coordinator to tell.
    if (this.#generation?.number !== generation) return this.#tellEnd(generation, this.#end);
    this.#gauges.abandon(generation);
    this.#assigned!.thread.send({ kind: 'abandon', generation, reason });
    this.#watchdog ??= setTimeout(() => this.#watch(), this.#assigned!.timing.watchdogMs);
  }

  /** Who is busy with its own pictures hears of the end when they are done; who is still in the exchange will never. */
  #watch(): void {
    const { phase, inExchange } = this.#gauges.read();
    if (phase === 'meeting' || inExchange) return this.#unfit(`the exchange could not be given up, in the phase ${phase}`);
    this.#watchdog = setTimeout(() => this.#watch(), this.#assigned!.timing.watchdogMs);
  }

  async #computed(reply: Exclude<ComputeReply, { kind: 'ready' | 'refused' }>): Promise<void> {
    switch (reply.kind) {
      case 'fact': {
        const json = JSON.stringify(reply.fact);
        this.options.watcher?.fact({ ...reply.fact, time: new Date().toISOString() } as RunEvent);
        if (this.#facts.push(json) > FACTS_KEPT) this.#facts.shift();
        if (this.#generation?.rank === 0) this.#sendFacts(reply.generation, [json]);
        return;
      }
      case 'ended':
        return this.#ended(reply.generation, reply.progress, reply.end);
      case 'crashed':
        return this.#unfit(reply.message);
      default:
        reply satisfies never;
    }
  }

  async #ended(generation: number, progress: Progress, end: GenerationEnd): Promise<void> {
    clearTimeout(this.#watchdog ?? undefined);
    this.#watchdog = null;
    const reasons = { paused: Ended_Reason.PAUSED, done: Ended_Reason.DONE, abandoned: Ended_Reason.ABANDONED, failed: Ended_Reason.FAILED };
    const detail = 'detail' in end ? end.detail : '';
    const finish = 'finish' in end && end.finish ? JSON.stringify(end.finish) : '';
    this.#progress = progress;
    this.#inMemory = true;
    this.#generation = null;
    this.#end = { reason: reasons[end.reason], detail, finishJson: finish, recentFactsJson: this.#facts };
    await this.#tellEnd(generation, this.#end);
  }

  async #tellEnd(generation: number, end: LastEnd): Promise<void> {
    const port = await freePort(this.#assigned!.address);
    this.#connection?.send({ $case: 'ended', value: { generation, position: this.#progress, port, ...end } });
  }

  #sendFacts(generation: number, json: string[]): void {
    if (json.length > 0) this.#connection?.send({ $case: 'facts', value: { generation, json } });
  }

  #heartbeat(nowMs: number): void {
    if (!this.#connection || nowMs - this.#heartbeatMs < (this.#assigned?.timing.heartbeatMs ?? FIRST_HEARTBEAT_MS)) return;
    this.#heartbeatMs = nowMs;
    const reading = this.#gauges.read();
    const { phase, step, epoch, samples } = reading;
    if (step !== this.#lastReading?.step) {
      this.#phaseSeconds = meanSeconds(this.#lastReading, reading);
      this.#lastReading = reading;
    }
    const heartbeat = { generation: this.#generation?.number ?? 0, position: { step, epoch }, phase: this.#assigned ? phase : this.#preparing, samples, phaseSeconds: this.#phaseSeconds, memoryBytes: process.memoryUsage.rss(), gpus: this.#gpus };
    this.#connection.send({ $case: 'heartbeat', value: heartbeat });
    this.options.watcher?.heartbeat(heartbeat);
    // A cut cable ends no stream by itself.
    if (this.#assigned && nowMs - this.#ackMs > this.#assigned.timing.detectionMs) {
      const silent = this.#connection;
      silent.close();
      this.#lostStream(silent, null);
    }
  }

  /** Without its coordinator a worker trains on, and looks for it. */
  #lostStream(connection: Connection, error: ServiceError | null): void {
    if (this.#over || this.#connection !== connection) return;
    this.#connection = null;
    connection.client.close();
    this.options.log(`the coordinator is gone (${error?.details ?? 'the stream ended'}); looking for it`);
    // Who still gets ready looks for it when that is done.
    if (!this.#assigned) return;
    this.#open(this.#assigned.timing.orphanMs).catch((reason: unknown) => this.#settle.reject(reason));
  }

  #leave(): void {
    this.#connection?.send({ $case: 'leaving', value: { reason: 'told to leave', unfit: false } });
    const fallback = setTimeout(() => this.#conclude({ reason: 'left in the middle of a step', failed: false }), LEAVE_MS);
    fallback.unref();
    if (!this.#connection) this.#conclude({ reason: 'left', failed: false });
  }

  /** This worker can't go on, and says so before it ends. */
  #unfit(reason: string): void {
    this.#connection?.send({ $case: 'leaving', value: { reason, unfit: true } });
    this.#settle.reject(new Error(reason));
  }

  #conclude(outcome: WorkerOutcome): void {
    this.#settle.resolve(outcome);
  }
}

/** A process waits for its threads before it ends, and one that is blocked in native code would never let it: this one is killed. */
function endAtOnce(log: WorkerOptions['log']): void {
  log('the compute thread is blocked and can\'t be ended: this process kills itself');
  process.kill(process.pid, 'SIGKILL');
}

/** Seconds a step spent in each phase since an earlier reading; empty before there was a step. */
function meanSeconds(before: GaugeReading | null, now: GaugeReading): Record<string, number> {
  const steps = now.step - (before?.step ?? now.step);
  if (before === null || steps <= 0) return {};
  return Object.fromEntries(Object.entries(now.seconds).map(([phase, seconds]) => [phase, (seconds - before.seconds[phase as keyof GaugeReading['seconds']]) / steps]));
}
