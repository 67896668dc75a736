import type { Request, Response } from 'express';
import type { Logger } from 'pino';
import { Gauge } from 'prom-client';
import { createApp } from '../http/app.js';
import { type Route, type Shell, callerOf, hangUpOf } from '../http/context.js';
import { ROUTES, acceptsOpenMetrics, ownRoutes } from '../http/routes.js';
import { ServerMetrics } from '../metrics.js';
import type { ModelState } from '../models/repository.js';
import { Problem } from '../problems.js';
import type { Service, ServiceOptions } from '../service.js';
import { Fleet } from './fleet.js';
import { CALLER_HEADER } from './messages.js';
import type { ReplicaProcess, WholeAnswer, WholeRequest } from './replica-process.js';
import { exposeTogether } from './together.js';

/**
 * Several processes behind one port. A front process speaks with the clients (keys, limits, request ids, the log) and hands each
 * request, whole, to the replica that has the least to do, over a socket of its own. Node's cluster would share the port without that
 * step, but it deals out connections, not requests: clients that keep theirs alive stay where they are, however busy it is there, and
 * die with their replica. From here a request that was lost with its replica is sent once more to another.
 */

interface FrontContext extends Shell {
  fleet: Fleet;
  /** Aborted when the server refuses what is under way. */
  closing: AbortSignal;
}

/** Serves with processes of their own. */
export function openReplicas(service: ServiceOptions, replicas: number, log: Logger): Service {
  const fleet = new Fleet({ service, replicas, log });
  const metrics = new ServerMetrics(() => new Map());
  metrics.register(replicaGauge(fleet));
  const closing = new AbortController();
  let closed: Promise<void> | undefined;
  return {
    metrics,
    load: () => fleet.start(),
    notReady: () => (fleet.ready.length === 0 ? 'no replica is ready' : null),
    app: (shell) => createApp<FrontContext>({ ...shell, metrics, fleet, closing: closing.signal }, FRONT_ROUTES),
    close: (reason) => {
      closing.abort(reason);
      return (closed ??= fleet.close());
    },
  };
}

/** The same contract as that of one process. */
const FRONT_ROUTES: readonly Route<FrontContext>[] = ROUTES.map(({ method, path, right }) => {
  const own = ownRoutes.find((route) => route.method === method && route.path === path);
  if (own) return own;
  if (path === '/metrics') return { method, path, right, answer: exposeAll };
  if (right === 'operate') return { method, path, right, answer: operate };
  if (path === '/v1/models') return { method, path, right, answer: (request, response, context) => handOn(request, response, context, ({ ready }) => ready[0] ?? null) };
  return { method, path, right, answer: (request, response, context) => handOn(request, response, context, (fleet, tried) => fleet.pick(tried)) };
});

/** Sends a request to a replica; when that is lost before it has answered, once more to another. */
async function handOn(request: Request, response: Response, context: FrontContext, choose: (fleet: Fleet, tried: ReadonlySet<ReplicaProcess>) => ReplicaProcess | null): Promise<void> {
  const whole = await readWhole(request, response, context);
  const gone = hangUpOf(response), given = new AbortController(), giveUp = () => given.abort();
  for (const signal of [gone, context.closing]) signal.addEventListener('abort', giveUp, { once: true });
  const tried = new Set<ReplicaProcess>();
  try {
    while (tried.size < 2) {
      if (context.closing.aborted) throw context.closing.reason as Problem;
      if (gone.aborted) throw new Problem('client-closed', 'The client has gone.');
      const replica = choose(context.fleet, tried);
      if (!replica) break;
      tried.add(replica);
      const answer = await replica.forward(whole, given.signal).catch((error: unknown) => {
        if (!given.signal.aborted) context.log.warn({ replica: replica.index, request: request.id, err: error }, 'a request was lost with its replica');
        return null;
      });
      if (answer) return sendOn(answer, response);
    }
  } finally {
    context.closing.removeEventListener('abort', giveUp);
  }
  if (context.closing.aborted) throw context.closing.reason as Problem;
  if (tried.size === 0 && context.notReady() !== null) throw new Problem('loading', `Not ready: ${context.notReady()}.`, { retryAfterSeconds: 1 });
  throw new Problem('compute-failed', 'The replica that computed it was lost; another is being started. Send it again.', { retryAfterSeconds: 1 });
}

/**
 * Changes what is served, first on one replica and, if that agrees, on the others. One that then refuses is ended, and its successor
 * loads what the rest serve; a version that can't be loaded everywhere is taken back everywhere.
 */
async function operate(request: Request, response: Response, context: FrontContext): Promise<void> {
  const whole = await readWhole(request, response, context);
  const { fleet, closing, log } = context;
  if (fleet.ready.length === 0) throw new Problem('loading', 'No replica is ready.', { retryAfterSeconds: 1 });
  const answer = await fleet.operate(async (replicas, before): Promise<WholeAnswer> => {
    const [first, ...others] = replicas;
    if (!first) throw new Problem('loading', 'No replica is ready.', { retryAfterSeconds: 1 });
    const said = await first.forward(whole, closing);
    if (said.status >= 300) return said;
    const adding = request.method === 'POST';
    const repeated = adding ? named(whole, before, (await first.ask('models')) ?? []) : whole;
    for (const [i, replica] of others.entries()) {
      const refused = await replica.forward(repeated, closing).then((reply) => (reply.status >= 300 ? reply.body.toString() : null), (error: unknown) => String(error));
      if (refused === null || replica.ended) continue;
      log.error({ replica: replica.index, refused }, 'a replica does not follow');
      if (!adding) replica.kill();
      else {
        await Promise.all([first, ...others.slice(0, i)].map((loaded) => loaded.forward(removal(repeated), closing)));
        throw new Problem('load-failed', 'The version was loaded by one replica but not by another, and was taken back. The log says why.');
      }
    }
    return said;
  });
  sendOn(answer, response);
}

/** The same request to add a version under the name that the first replica has given it. */
function named(whole: WholeRequest, before: readonly ModelState[], after: readonly ModelState[]): WholeRequest {
  const known = new Set(before.flatMap(({ name, versions }) => versions.map(({ version }) => `${name}/${version}`)));
  const added = after.flatMap(({ name, versions }) => versions.map(({ version }) => ({ name, version }))).find(({ name, version }) => !known.has(`${name}/${version}`));
  if (!added) return whole;
  return { ...whole, body: Buffer.from(JSON.stringify({ ...(JSON.parse(whole.body.toString()) as object), version: added.version })) };
}

const removal = ({ url, headers, body }: WholeRequest): WholeRequest => {
  const { version } = JSON.parse(body.toString()) as { version: string };
  return { method: 'DELETE', url: `${url.split('?')[0]}/${encodeURIComponent(version)}`, headers, body: Buffer.alloc(0) };
};

async function exposeAll(request: Request, response: Response, { metrics, fleet }: FrontContext): Promise<void> {
  const [own, ...theirs] = await Promise.all([metrics.snapshot(), fleet.metrics()]).then(([mine, others]) => [mine, ...others]);
  // What clients were answered is counted here; between the front and a replica it would be counted twice.
  const { contentType, body } = await exposeTogether([own!, ...theirs.map((snapshot) => snapshot.filter(({ name }) => !name.startsWith('chameleon_http_')))], acceptsOpenMetrics(request));
  response.setHeader('Content-Type', contentType);
  response.end(body);
}

const TAKEN_ALONG = ['content-type', 'inference-header-content-length'] as const;
const GIVEN_BACK = ['content-type', 'retry-after', 'inference-header-content-length'] as const;

async function readWhole(request: Request, response: Response, { reader }: FrontContext): Promise<WholeRequest> {
  const body = await reader.raw(request, response);
  const headers = Object.fromEntries(TAKEN_ALONG.flatMap((name) => (request.headers[name] === undefined ? [] : [[name, request.headers[name]]])));
  return { method: request.method, url: request.url, headers: { ...headers, host: 'localhost', 'x-request-id': request.id as string, [CALLER_HEADER]: encodeURIComponent(callerOf(response).name) }, body };
}

function sendOn({ status, headers, body }: WholeAnswer, response: Response): void {
  response.status(status);
  for (const name of GIVEN_BACK) if (headers[name] !== undefined) response.setHeader(name, headers[name]);
  response.end(body);
}

function replicaGauge(fleet: Fleet): Gauge<'state'> {
  return new Gauge({
    name: 'chameleon_replicas', help: 'Processes that compute: wanted, ready, and lost since the server began.', labelNames: ['state'], registers: [],
    collect() {
      for (const [state, count] of Object.entries(fleet.counts)) this.set({ state }, count);
    },
  });
}
