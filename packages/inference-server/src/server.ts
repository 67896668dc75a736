import type { AddressInfo } from 'node:net';
import { UserError } from '@chameleon/core';
import type { Logger } from 'pino';
import type { EngineChoice, PrecisionChoice } from './compute/messages.js';
import { isOrigin } from './http/cors.js';
import { Gate, readKeys } from './http/keys.js';
import { DEFAULT_LIMITS, type Limits } from './http/limits.js';
import { type TlsFiles, drain, listenFor } from './http/listener.js';
import { BodyReader } from './http/pictures.js';
import { createLogger } from './logger.js';
import type { ModelSource } from './models/repository.js';
import type { CanaryBounds } from './models/traffic.js';
import { Problem } from './problems.js';
import { openReplicas } from './replicas/front.js';
import { openService } from './service.js';

/** How a server is started. Everything but `models` and `engine` may be left out. */
export interface ServerOptions {
  /** Runs or model folders; of several versions of one model the first is stable. */
  models: readonly ModelSource[];
  engine: EngineChoice;
  /** 127.0.0.1. */
  host?: string;
  /** 8080; 0 takes any free one. */
  port?: number;
  /** A file of API keys; without one the server listens on a loopback address only. */
  keysFile?: string;
  /** Listens elsewhere without keys too. Versions can't be changed then. */
  insecure?: boolean;
  /** Files in PEM: the server speaks HTTPS. */
  tls?: TlsFiles;
  /** `auto`: the precision that the model was trained in, where the backend has it; `int8` needs each model's calibration. */
  precision?: PrecisionChoice;
  /** Pictures a batch: 16. */
  maxBatch?: number;
  /** Pictures a version that are decoded or wait: 128. */
  maxQueue?: number;
  /** ms that a picture waits for company while the engine is idle, at most: 5. */
  maxDelayMs?: number;
  /** Threads that an operator of the engine may use: one a core. */
  threads?: number;
  /** Threads that decode: one a core. */
  decodeThreads?: number;
  /** Requests a minute and key; by default any number. */
  requestsPerMinute?: number;
  limits?: Partial<Limits>;
  /** The folder that versions may be added from while the server runs. */
  modelsRoot?: string;
  canaryBounds?: Partial<CanaryBounds>;
  /** Processes that compute, behind the one port: 1, which is this process itself. Threads and places in the queue are divided among them. */
  replicas?: number;
  /** Origins (`https://app.example.org`, or `*`) whose pages may ask from a browser; by default none but the server's own. */
  corsOrigins?: readonly string[];
  /** By default one line of JSON a request on standard error. */
  logger?: Logger;
}

export interface StopOptions {
  /** ms between "not ready" and the end of listening, for load balancers to notice: 0. */
  noticeMs?: number;
  /** ms for what is under way to be answered: 10,000. What is not is refused with 503. */
  deadlineMs?: number;
}

export interface RunningServer {
  /** `http://127.0.0.1:8080`. */
  url: string;
  port: number;
  /** All models are loaded and warm. Rejects with a UserError when one can't be loaded; the server goes on, not ready. */
  ready: Promise<void>;
  /** Not ready first; then no new connections, and every request that was begun is answered. Idempotent. */
  stop(options?: StopOptions): Promise<void>;
}

/** Listens at once, and loads the models meanwhile. @throws UserError when the options are wrong or the port is taken */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { host = '127.0.0.1', port = 8080, requestsPerMinute = null, corsOrigins = [], replicas = 1, tls } = options;
  if (options.models.length === 0) throw new UserError('No model was given. Pass a run with --model runs/<id>.', { exitCode: 2 });
  const wrong = corsOrigins.find((origin) => !isOrigin(origin));
  if (wrong !== undefined) throw new UserError(`${wrong} is no origin. Write it as browsers do: https://app.example.org, without a path.`, { exitCode: 2 });
  const gate = await openGate(options, host);
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const log = options.logger ?? createLogger('info');
  const service = replicas > 1 ? openReplicas({ ...options, limits }, replicas, log) : openService({ ...options, limits }, log);
  const phase: { now: 'starting' | 'serving' | 'draining' } = { now: 'starting' };
  const notReady = () => (phase.now === 'draining' ? 'the server is stopping' : (service.notReady() ?? (phase.now === 'starting' ? 'models are being loaded' : null)));
  const app = service.app({ gate, reader: new BodyReader(limits), limits, log, requestsPerMinute, corsOrigins, tls: tls !== undefined, notReady, draining: () => phase.now === 'draining' });

  const stopping = new Problem('draining', 'The server is stopping. Send it to another one.', { retryAfterSeconds: 1 });
  const server = await listenFor(app, { host, port }, limits, tls).catch(async (error: unknown) => {
    await service.close(stopping);
    throw error;
  });
  const ready = service.load().then(() => {
    if (phase.now === 'starting') phase.now = 'serving';
  });
  ready.catch((error: unknown) => log.error({ err: error }, 'not every model could be loaded: the server is not ready'));

  const stop = async ({ noticeMs = 0, deadlineMs = 10_000 }: StopOptions = {}) => {
    phase.now = 'draining';
    log.info({ noticeMs, deadlineMs }, 'the server drains');
    await elapsed(noticeMs);
    await drain(server, { deadlineMs, onLate: () => void service.close(stopping) });
    await service.close(stopping);
    await ready.catch(() => undefined);
    log.info('the server has stopped');
  };
  let stopped: Promise<void> | undefined;
  const address = server.address() as AddressInfo;
  const shownHost = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return { url: `${tls ? 'https' : 'http'}://${shownHost}:${address.port}`, port: address.port, ready, stop: (how) => (stopped ??= stop(how)) };
}

async function openGate({ keysFile, insecure = false }: ServerOptions, host: string): Promise<Gate> {
  const loopback = /^(localhost|127(\.\d{1,3}){3}|::1)$/.test(host);
  if (keysFile !== undefined) return new Gate(await readKeys(keysFile), []);
  if (!loopback && !insecure) throw new UserError(`Without API keys the server listens on a loopback address only, and ${host} is none. Pass --keys FILE, or --insecure where everybody may ask.`, { exitCode: 2 });
  return new Gate([], loopback ? ['classify', 'operate'] : ['classify']);
}

const elapsed = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
