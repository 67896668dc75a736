import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { UserError } from '@chameleon/core';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { RunEvent } from './events.js';
import type { StepPhase } from './training-step.js';
import { hostPort } from './worker/address.js';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const STEP_PHASES: readonly StepPhase[] = ['data', 'forward', 'backward', 'exchange', 'optimizer'];

/** Of one GPU, as far as its driver says. */
export interface GpuFigures {
  index: number;
  utilization?: number | null | undefined;
  memoryBytes?: number | null | undefined;
  temperatureCelsius?: number | null | undefined;
}

/** A run's figures for Prometheus (DESIGN.md, section 6), out of the facts that it writes down and the phases that its steps are in. */
export class RunMetrics {
  readonly #registry = new Registry();
  readonly #loss = this.#gauge('chameleon_train_loss', 'Training: of the last step. Validation: of the last epoch.', ['run', 'split']);
  readonly #accuracy = this.#gauge('chameleon_train_accuracy_ratio', 'Training: of the last step. Validation: of the last epoch.', ['run', 'split']);
  readonly #learningRate = this.#gauge('chameleon_train_learning_rate', 'Of each group that learns.', ['run', 'group']);
  readonly #step = this.#gauge('chameleon_train_step', 'Steps applied.', ['run']);
  readonly #epoch = this.#gauge('chameleon_train_epoch', 'The epoch that is under way, from 0.', ['run']);
  readonly #worldSize = this.#gauge('chameleon_train_world_size', 'Workers that take part.', ['run']);
  readonly #generation = this.#gauge('chameleon_train_generation', 'Grows when workers join or leave.', ['run']);
  readonly #checkpointAt = this.#gauge('chameleon_train_checkpoint_timestamp_seconds', 'When the last checkpoint was left.', ['run']);
  readonly #heartbeatAt = this.#gauge('chameleon_worker_heartbeat_timestamp_seconds', 'When the worker was last heard of.', ['run', 'worker']);
  readonly #samples = new Counter({ name: 'chameleon_train_samples_total', help: 'Pictures of applied steps.', labelNames: ['run', 'worker'], registers: [this.#registry] });
  readonly #restarts = new Counter({ name: 'chameleon_train_restarts_total', help: 'Times that the run went on from an earlier state.', labelNames: ['run', 'reason'], registers: [this.#registry] });
  readonly #phaseSeconds = new Histogram({ name: 'chameleon_train_phase_seconds', help: 'Of each step, by phase.', labelNames: ['run', 'worker', 'phase'], buckets: SECONDS, registers: [this.#registry] });
  #phase: { name: StepPhase; sinceMs: number } | null = null;
  #spent = new Map<StepPhase, number>();

  readonly #gpuUtilization = this.#gauge('chameleon_gpu_utilization_ratio', 'Part of the time in which the GPU computed something.', ['worker', 'gpu']);
  readonly #gpuMemory = this.#gauge('chameleon_gpu_memory_bytes', 'Memory of the GPU that is in use.', ['worker', 'gpu']);
  readonly #gpuTemperature = this.#gauge('chameleon_gpu_temperature_celsius', 'Temperature of the GPU.', ['worker', 'gpu']);
  /** The GPUs that were told of, by worker. */
  readonly #gpus = new Map<string, readonly number[]>();
  readonly #memory: Gauge<'worker'>;
  readonly #heardSamples = new Map<string, number>();

  /** @param names of the run, and of the worker that computes here; null in a run over several, whose workers are told of by `observeWorker` */
  constructor(private readonly names: { run: string; worker: string | null }) {
    const { worker } = names;
    const measure = worker === null ? {} : { collect: () => this.#memory.set({ worker }, process.memoryUsage.rss()) };
    this.#memory = new Gauge({ name: 'chameleon_worker_memory_bytes', help: 'Resident memory of the worker.', labelNames: ['worker'], registers: [this.#registry], ...measure });
    this.#worldSize.set({ run: names.run }, 1);
    this.#generation.set({ run: names.run }, 0);
    // Zero first: what grows from nothing has no rate.
    this.#restarts.inc({ run: names.run, reason: 'resumed' }, 0);
    collectDefaultMetrics({ register: this.#registry });
  }

  /** What a step is at from now on; in validation it is at none. */
  enterPhase(phase: StepPhase | 'validation', nowMs = performance.now()): void {
    if (this.#phase) this.#spent.set(this.#phase.name, (this.#spent.get(this.#phase.name) ?? 0) + (nowMs - this.#phase.sinceMs) / 1000);
    this.#phase = phase === 'validation' ? null : { name: phase, sinceMs: nowMs };
  }

  observe(event: RunEvent): void {
    const { run, worker } = this.names;
    const atSeconds = Date.parse(event.time) / 1000;
    if (worker !== null) this.#heartbeatAt.set({ run, worker }, atSeconds);
    switch (event.type) {
      case 'step':
        return this.#observeStep(event);
      case 'epoch':
        this.#loss.set({ run, split: 'valid' }, event.validLoss);
        this.#accuracy.set({ run, split: 'valid' }, event.validAccuracy);
        return;
      case 'generation':
        this.#generation.set({ run }, event.generation);
        this.#worldSize.set({ run }, event.workers.length);
        if (event.generation > 1) this.#restarts.inc({ run, reason: 'membership' });
        return;
      case 'resume':
        this.#step.set({ run }, event.step);
        this.#epoch.set({ run }, event.epoch);
        this.#restarts.inc({ run, reason: 'resumed' });
        return;
      case 'checkpoint':
        this.#checkpointAt.set({ run }, atSeconds);
        return;
      case 'start':
      case 'skip':
      case 'phase':
      case 'command':
      case 'change':
      case 'fault':
      case 'finish':
        return;
      default:
        event satisfies never;
    }
  }

  /** A worker's heartbeat: pictures since it started, the mean seconds a step by phase, resident bytes. */
  observeWorker(worker: string, { samples, phaseSeconds, memoryBytes, gpus = [] }: { samples: number; phaseSeconds: Record<string, number>; memoryBytes: number; gpus?: readonly GpuFigures[] }, nowMs = Date.now()): void {
    const { run } = this.names;
    this.#heartbeatAt.set({ run, worker }, nowMs / 1000);
    this.#memory.set({ worker }, memoryBytes);
    this.observeGpus(worker, gpus);
    const before = this.#heardSamples.get(worker) ?? 0;
    this.#heardSamples.set(worker, samples);
    if (samples === before) return;
    // A worker that came back as a new process counts from 0.
    this.#samples.inc({ run, worker }, samples > before ? samples - before : samples);
    for (const phase of STEP_PHASES) if (phaseSeconds[phase] !== undefined) this.#phaseSeconds.observe({ run, worker, phase }, Math.max(0, phaseSeconds[phase]));
  }

  /** What the driver doesn't say of a GPU has no series: it is not 0. */
  observeGpus(worker: string, gpus: readonly GpuFigures[]): void {
    const gone = (this.#gpus.get(worker) ?? []).filter((index) => !gpus.some((gpu) => gpu.index === index));
    this.#gpus.set(worker, gpus.map(({ index }) => index));
    const all = [...gpus, ...gone.map((index): GpuFigures => ({ index }))];
    for (const { index, utilization, memoryBytes, temperatureCelsius } of all) {
      const labels = { worker, gpu: String(index) };
      for (const [gauge, value] of [[this.#gpuUtilization, utilization], [this.#gpuMemory, memoryBytes], [this.#gpuTemperature, temperatureCelsius]] as const) {
        if (value === null || value === undefined) gauge.remove(labels);
        else gauge.set(labels, value);
      }
    }
  }

  /** The text of a scrape. */
  async expose(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  #gauge<Names extends string>(name: string, help: string, labelNames: Names[]): Gauge<Names> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #observeStep({ step, epoch, loss, correct, pictures, learningRates }: Extract<RunEvent, { type: 'step' }>): void {
    const { run, worker } = this.names;
    this.#step.set({ run }, step);
    this.#epoch.set({ run }, epoch);
    this.#loss.set({ run, split: 'train' }, loss);
    this.#accuracy.set({ run, split: 'train' }, correct / pictures);
    // A group that no longer learns has no rate.
    this.#learningRate.reset();
    for (const [group, rate] of Object.entries(learningRates)) this.#learningRate.set({ run, group }, rate);
    if (worker === null) return;
    this.#samples.inc({ run, worker }, pictures);
    this.enterPhase('validation');
    for (const [phase, seconds] of this.#spent) this.#phaseSeconds.observe({ run, worker, phase }, seconds);
    this.#spent.clear();
  }
}

/** Answers scrapes until it is disposed; of this machine alone, unless another address is named. @throws UserError when the port is taken */
export async function serveMetrics(metrics: Pick<RunMetrics, 'expose'>, port: number, host = '127.0.0.1'): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    if (request.url?.split('?')[0] !== '/metrics') return void response.writeHead(404).end();
    metrics.expose().then(({ contentType, body }) => response.writeHead(200, { 'content-type': contentType }).end(body), () => response.writeHead(500).end());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new UserError(`Metrics can't be served on port ${port}: ${error.message}. Choose another one with --metrics-port.`, { cause: error })));
    server.listen(port, host, resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${hostPort({ host, port: bound })}/metrics`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}
