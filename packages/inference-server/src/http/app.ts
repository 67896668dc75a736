import { randomUUID } from 'node:crypto';
import express, { type ErrorRequestHandler, type Express, type NextFunction, type Request, type Response } from 'express';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import helmet from 'helmet';
import type { Logger } from 'pino';
import { pinoHttp } from 'pino-http';
import type { ServerMetrics } from '../metrics.js';
import { openApiDocument } from '../openapi.js';
import { Problem, problemOf, problemType } from '../problems.js';
import { type Doorkeeper, type Route, type Shell, callerOf } from './context.js';
import { crossOrigin } from './cors.js';
import type { Caller, Right } from './keys.js';

/** @param routes of the contract, each with what answers it here */
export function createApp<Context extends Shell>(given: Omit<Context, 'document'>, routes: readonly Route<Context>[]): Express {
  const document = openApiDocument(routes);
  const context = { ...given, document: () => document } as unknown as Context;
  const { gate, log, metrics, tls, draining } = context;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((request, response, next) => {
    const given = request.headers['x-request-id'];
    request.id = typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
    response.setHeader('X-Request-Id', request.id);
    endConnectionWhileDraining(response, draining);
    measure(request, response, metrics);
    next();
  });
  app.use(accessLog(log));
  app.use(helmet({
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], scriptSrc: ["'self'"], styleSrc: ["'self'"], imgSrc: ["'self'", 'data:', 'blob:'], mediaSrc: ['blob:'], connectSrc: ["'self'"], baseUri: ["'none'"], formAction: ["'none'"], frameAncestors: ["'none'"] } },
    strictTransportSecurity: tls,
  }));
  if (context.corsOrigins.length > 0) app.all([...new Set(routes.filter((route) => route.right !== 'operate').map((route) => route.path))], crossOrigin(context.corsOrigins));
  const limiter = rateLimiter(context.requestsPerMinute);
  for (const { method, path, right, answer } of routes) {
    const guards = right === null ? [] : [(request: Request, response: Response, next: NextFunction) => {
      admit(request, response, gate, right);
      next();
    }, limiter];
    app[method](path, ...guards, (request: Request, response: Response) => answer(request, response, context));
  }
  for (const path of new Set(routes.map((route) => route.path))) app.all(path, (_request, response) => refuseMethod(path, routes, response));
  app.use((request) => {
    throw new Problem('not-found', `There is nothing at ${request.path.slice(0, 200)}. /docs lists what is offered.`);
  });
  app.use(sendProblem(metrics));
  return app;
}

/** Answers with the problem document that an error amounts to. */
function sendProblem(metrics: ServerMetrics): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    const problem = problemOf(error);
    if (problem.status >= 400) metrics.rejected(problem.code);
    const cause = problem.status >= 500 ? problem.cause : undefined;
    if (cause instanceof Error) response.err = cause;
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    if (problem.retryAfterSeconds !== undefined) response.setHeader('Retry-After', String(problem.retryAfterSeconds));
    if (problem.code === 'unauthenticated') response.setHeader('WWW-Authenticate', 'Bearer');
    response.status(problem.status);
    response.setHeader('Content-Type', problemType(request.path));
    // The Open Inference Protocol's clients look for the reason under `error`.
    const document = problem.document(request.id as string);
    response.end(JSON.stringify(request.path.startsWith('/v2') ? { ...document, error: problem.message } : document));
    if (!request.complete) giveUpOnBody(request);
  };
}

/** Who still sends a refused body is listened to for a while, so that the answer reaches him; then the connection ends. */
function giveUpOnBody(request: Request): void {
  const LINGER_MS = 2_000;
  request.resume();
  setTimeout(() => {
    if (!request.complete) request.socket.destroy();
  }, LINGER_MS).unref();
}

/** Lets a request in, or throws. Without keys, what changes the server is only taken under a loopback name: a page elsewhere could rebind its own. */
function admit(request: Request, response: Response, gate: Doorkeeper, right: Right): void {
  const address = request.socket.remoteAddress ?? 'unknown';
  const caller = gate.admit(request.headers, ipKeyGenerator(address), right);
  if (right === 'operate' && gate.open && !/^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i.test(request.headers.host ?? '')) throw new Problem('forbidden', 'Without API keys this is only taken under the name localhost.');
  response.locals.caller = caller;
}

function rateLimiter(requestsPerMinute: number | null) {
  if (requestsPerMinute === null) return (_request: Request, _response: Response, next: NextFunction) => next();
  return rateLimit({
    windowMs: 60_000,
    limit: requestsPerMinute,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    keyGenerator: (_request, response) => callerOf(response as Response).name,
    handler: (request, _response, next) => {
      const { resetTime } = (request as Request & { rateLimit: { resetTime?: Date } }).rateLimit;
      const waitMs = resetTime ? resetTime.getTime() - Date.now() : 60_000;
      next(new Problem('rate-limited', `More than ${requestsPerMinute} requests a minute.`, { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) }));
    },
  });
}

function refuseMethod(path: string, routes: readonly Pick<Route, 'method' | 'path'>[], response: Response): never {
  const offered = [...new Set(routes.filter((route) => route.path === path).map((route) => route.method.toUpperCase()))].join(', ');
  response.setHeader('Allow', offered);
  throw new Problem('method-not-allowed', `Here ${offered} is offered.`);
}

/** A request that was begun before the server drains ends its connection too: what it says is decided when its header goes out. */
function endConnectionWhileDraining(response: Response, draining: () => boolean): void {
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => Response;
  response.writeHead = (...args: unknown[]) => {
    if (draining()) response.setHeader('Connection', 'close');
    return writeHead(...args);
  };
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE']);

/** Counts a request when its answer has gone out, under the route's pattern: addresses that anybody can make up are no labels. */
function measure(request: Request, response: Response, metrics: ServerMetrics): void {
  const startMs = performance.now();
  response.once('close', () => {
    const route = ((request as { route?: { path?: unknown } }).route?.path ?? 'other') as string;
    const status = response.writableFinished ? response.statusCode : 499;
    metrics.answered({ route, method: METHODS.has(request.method) ? request.method : 'other', status: String(status) }, (performance.now() - startMs) / 1000, request.id as string);
  });
}

/** One line a request: who, what, how long; no bodies, no keys. */
function accessLog(logger: Logger) {
  return pinoHttp({
    logger,
    genReqId: (request) => request.id,
    autoLogging: { ignore: (request) => /^\/(livez|readyz|metrics|v2\/health\/)/.test(request.url ?? '') },
    quietReqLogger: true,
    customLogLevel: (_request, response, error) => (error !== undefined || response.statusCode === 500 ? 'error' : response.statusCode > 500 ? 'warn' : 'info'),
    customProps: (_request, response) => ({ caller: ((response as Response).locals.caller as Caller | undefined)?.name }),
    serializers: {
      req: (request: { method: string; url: string }) => ({ method: request.method, url: request.url.slice(0, 500) }),
      res: (response: { statusCode: number }) => ({ status: response.statusCode }),
    },
  });
}
