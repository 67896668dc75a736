import { randomUUID } from 'node:crypto';
import express, { type ErrorRequestHandler, type Express, type NextFunction, type Request, type Response } from 'express';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import helmet from 'helmet';
import type { Logger } from 'pino';
import { pinoHttp } from 'pino-http';
import { type Services, classify } from '../classify.js';
import { explain } from '../explain/explain.js';
import { openApiDocument } from '../openapi.js';
import { Problem, problemOf } from '../problems.js';
import { openInferenceRoutes } from '../protocol/routes.js';
import { addVersionBodySchema, canaryBodySchema, classifyQuerySchema, explainQuerySchema, stableBodySchema } from '../schemas.js';
import { type AppContext, type Route, askedBy, callerOf, requireReady } from './context.js';
import { crossOrigin } from './cors.js';
import type { Caller, Gate, Right } from './keys.js';
import { pageRoutes } from './pages.js';

/** The HTTP contract: which address is answered by what. */
export const ROUTES: readonly Route[] = [
  { method: 'post', path: '/v1/classify', right: 'classify', answer: async (request, response, context) => {
    const query = classifyQuerySchema.parse(request.query);
    const pictures = await context.reader.pictures(request, response);
    response.json(await classify(pictures, askedBy(request, response, query, context), context.services));
  } },
  { method: 'post', path: '/v1/explain', right: 'classify', answer: async (request, response, context) => {
    const query = explainQuerySchema.parse(request.query);
    const pictures = await context.reader.pictures(request, response);
    response.json(await explain(pictures, { ...askedBy(request, response, query, context), label: query.label }, context.services));
  } },
  { method: 'get', path: '/v1/models', right: 'classify', answer: (_request, response, { services }) => void response.json({ models: services.repository.list() }) },
  { method: 'post', path: '/v1/models/:name/versions', right: 'operate', answer: async (request, response, { services, reader }) => {
    const { path, version } = addVersionBodySchema.parse(await reader.json(request, response));
    const added = await services.repository.addFromRoot(text(request.params.name), path, version);
    response.status(201).json(services.repository.listOne(added.name));
  } },
  { method: 'delete', path: '/v1/models/:name/versions/:version', right: 'operate', answer: async (request, response, { services }) => {
    await services.repository.remove(text(request.params.name), text(request.params.version));
    response.json(services.repository.listOne(text(request.params.name)));
  } },
  { method: 'put', path: '/v1/models/:name/labels/stable', right: 'operate', answer: async (request, response, { services, reader }) => {
    const { version } = stableBodySchema.parse(await reader.json(request, response));
    services.repository.setStable(text(request.params.name), version);
    response.json(services.repository.listOne(text(request.params.name)));
  } },
  { method: 'put', path: '/v1/models/:name/labels/canary', right: 'operate', answer: async (request, response, { services, reader }) => {
    const { version, traffic_share: trafficShare, shadow } = canaryBodySchema.parse(await reader.json(request, response));
    services.repository.setCanary(text(request.params.name), version === null ? null : { version, trafficShare, shadow });
    response.json(services.repository.listOne(text(request.params.name)));
  } },
  { method: 'get', path: '/livez', right: null, answer: (_request, response) => void response.json({ live: true }) },
  { method: 'get', path: '/readyz', right: null, answer: (_request, response, context) => {
    requireReady(context);
    response.json({ ready: true });
  } },
  { method: 'get', path: '/metrics', right: null, answer: async (request, response, { services }) => {
    const { contentType, body } = await services.metrics.expose((request.headers.accept ?? '').includes('application/openmetrics-text'));
    response.setHeader('Content-Type', contentType);
    response.end(body);
  } },
  ...openInferenceRoutes,
  ...pageRoutes,
];

export function createApp(given: Omit<AppContext, 'document'>): Express {
  const document = openApiDocument(ROUTES);
  const context: AppContext = { ...given, document: () => document };
  const { gate, log, services, tls, draining } = context;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((request, response, next) => {
    const given = request.headers['x-request-id'];
    request.id = typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
    response.setHeader('X-Request-Id', request.id);
    endConnectionWhileDraining(response, draining);
    measure(request, response, services);
    next();
  });
  app.use(accessLog(log));
  app.use(helmet({
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], scriptSrc: ["'self'"], styleSrc: ["'self'"], imgSrc: ["'self'", 'data:', 'blob:'], mediaSrc: ['blob:'], connectSrc: ["'self'"], baseUri: ["'none'"], formAction: ["'none'"], frameAncestors: ["'none'"] } },
    strictTransportSecurity: tls,
  }));
  if (context.corsOrigins.length > 0) app.all([...new Set(ROUTES.filter((route) => route.right !== 'operate').map((route) => route.path))], crossOrigin(context.corsOrigins));
  const limiter = rateLimiter(context.requestsPerMinute);
  for (const { method, path, right, answer } of ROUTES) {
    const guards = right === null ? [] : [(request: Request, response: Response, next: NextFunction) => {
      admit(request, response, gate, right);
      next();
    }, limiter];
    app[method](path, ...guards, (request: Request, response: Response) => answer(request, response, context));
  }
  for (const path of new Set(ROUTES.map((route) => route.path))) app.all(path, (_request, response) => refuseMethod(path, response));
  app.use((request) => {
    throw new Problem('not-found', `There is nothing at ${request.path.slice(0, 200)}. /docs lists what is offered.`);
  });
  app.use(sendProblem(services));
  return app;
}

/** Answers with the problem document that an error amounts to. */
function sendProblem({ metrics }: Services): ErrorRequestHandler {
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
    response.setHeader('Content-Type', 'application/problem+json');
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
function admit(request: Request, response: Response, gate: Gate, right: Right): void {
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

function refuseMethod(path: string, response: Response): never {
  const offered = [...new Set(ROUTES.filter((route) => route.path === path).map((route) => route.method.toUpperCase()))].join(', ');
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
function measure(request: Request, response: Response, { metrics }: Services): void {
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

const text = (parameter: string | string[] | undefined): string => (Array.isArray(parameter) ? parameter.join('/') : (parameter ?? ''));
