import { readFile } from 'node:fs/promises';
import { type Server, createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import { UserError } from '@chameleon/core';
import type { Logger } from 'pino';
import type { EngineChoice, PrecisionChoice } from './compute/messages.js';
import { DecodePool } from './decode/decode-pool.js';
import { createApp } from './http/app.js';
import { isOrigin } from './http/cors.js';
import { Gate, readKeys } from './http/keys.js';
import { DEFAULT_LIMITS, type Limits } from './http/limits.js';
import { BodyReader } from './http/pictures.js';
import { createLogger } from './logger.js';
import { ServerMetrics } from './metrics.js';
import { ModelRepository, type ModelSource } from './models/repository.js';
import { type CanaryBounds, DEFAULT_CANARY_BOUNDS } from './models/traffic.js';
import { Problem } from './problems.js';

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
  tls?: { certFile: string; keyFile: string };
  /** `auto`: the precision that the model was trained in, where the backend has it. */
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
  const { host = '127.0.0.1', port = 8080, engine, precision = 'auto', threads = availableParallelism(), maxBatch = 16, maxQueue = 128, maxDelayMs = 5, requestsPerMinute = null, modelsRoot = null, corsOrigins = [] } = options;
  if (options.models.length === 0) throw new UserError('No model was given. Pass a run with --model runs/<id>.', { exitCode: 2 });
  const wrong = corsOrigins.find((origin) => !isOrigin(origin));
  if (wrong !== undefined) throw new UserError(`${wrong} is no origin. Write it as browsers do: https://app.example.org, without a path.`, { exitCode: 2 });
  const gate = await openGate(options, host);
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const log = options.logger ?? createLogger('info');
  const metrics: ServerMetrics = new ServerMetrics(() => repository.queueLengths());
  const repository = new ModelRepository({ compute: { engine, precision, threads, computeTimeoutMs: limits.computeMs }, batcher: { maxBatch, maxQueue, maxDelayMs }, canaryBounds: { ...DEFAULT_CANARY_BOUNDS, ...options.canaryBounds }, modelsRoot, metrics, log, random: Math.random });
  const decoder = new DecodePool({ threads: options.decodeThreads ?? availableParallelism(), timeoutMs: limits.decodeMs });
  const phase: { now: 'starting' | 'serving' | 'draining' } = { now: 'starting' };
  const notReady = () => (phase.now === 'draining' ? 'the server is stopping' : (repository.notReady() ?? (phase.now === 'starting' ? 'models are being loaded' : null)));
  const app = createApp({ services: { repository, decoder, metrics, maxPixels: limits.pixels }, gate, reader: new BodyReader(limits), limits, log, requestsPerMinute, corsOrigins, tls: options.tls !== undefined, notReady, draining: () => phase.now === 'draining' });

  const server = await createHttpServer(options.tls, limits);
  server.on('request', app);
  server.on('clientError', refuseBrokenRequest);
  try {
    await listen(server, port, host);
  } catch (error) {
    await decoder.close();
    throw error;
  }
  const ready = loadAll(repository, options.models).then(() => {
    if (phase.now === 'starting') phase.now = 'serving';
  });
  ready.catch((error: unknown) => log.error({ err: error }, 'not every model could be loaded: the server is not ready'));

  const stop = async ({ noticeMs = 0, deadlineMs = 10_000 }: StopOptions = {}) => {
    phase.now = 'draining';
    log.info({ noticeMs, deadlineMs }, 'the server drains');
    await elapsed(noticeMs);
    const stopping = new Problem('draining', 'The server is stopping. Send it to another one.', { retryAfterSeconds: 1 });
    const late = setTimeout(() => {
      void repository.close(stopping);
      void decoder.close();
      setTimeout(() => server.closeAllConnections(), 500).unref();
    }, deadlineMs);
    const idle = setInterval(() => server.closeIdleConnections(), 250);
    await closed(server);
    clearTimeout(late);
    clearInterval(idle);
    await Promise.all([repository.close(stopping), decoder.close()]);
    await ready.catch(() => undefined);
    log.info('the server has stopped');
  };
  let stopped: Promise<void> | undefined;
  const address = server.address() as AddressInfo;
  const shownHost = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return { url: `${options.tls ? 'https' : 'http'}://${shownHost}:${address.port}`, port: address.port, ready, stop: (how) => (stopped ??= stop(how)) };
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

async function openGate({ keysFile, insecure = false }: ServerOptions, host: string): Promise<Gate> {
  const loopback = /^(localhost|127(\.\d{1,3}){3}|::1)$/.test(host);
  if (keysFile !== undefined) return new Gate(await readKeys(keysFile), []);
  if (!loopback && !insecure) throw new UserError(`Without API keys the server listens on a loopback address only, and ${host} is none. Pass --keys FILE, or --insecure where everybody may ask.`, { exitCode: 2 });
  return new Gate([], loopback ? ['classify', 'operate'] : ['classify']);
}

async function createHttpServer(tls: ServerOptions['tls'], limits: Limits): Promise<Server> {
  const settings = { requestTimeout: limits.receiveMs, headersTimeout: Math.min(10_000, limits.receiveMs), keepAliveTimeout: 65_000, maxHeaderSize: 16_384, connectionsCheckingInterval: Math.min(1_000, limits.receiveMs) };
  const server = tls ? createTlsServer({ ...settings, cert: await readPem(tls.certFile), key: await readPem(tls.keyFile) }) : createServer(settings);
  server.maxConnections = limits.connections;
  return server;
}

async function readPem(path: string): Promise<Buffer> {
  return readFile(path).catch((error: unknown) => {
    throw new UserError(`${path} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { cause: error, exitCode: 2 });
  });
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another program listens there already' : error.code === 'EACCES' ? 'this user may not listen there' : error.message;
      reject(new UserError(`The server can't listen on ${host}:${port}: ${why}. Choose another one with --port.`, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
}

/** What Node's parser refuses never reaches the app: the problem document is written by hand. */
function refuseBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  const problem = error.code === 'HPE_HEADER_OVERFLOW' ? new Problem('header-too-large', 'The header is over the limit of 16,384 bytes.')
    : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? new Problem('too-slow', 'The request did not arrive whole in time.')
      : new Problem('bad-request', 'This is not HTTP.');
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(problem.document(''));
  socket.end(`HTTP/1.1 ${problem.status} Refused\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
const elapsed = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
