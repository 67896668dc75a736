import express, { type ErrorRequestHandler, type Express, type Response } from 'express';
import helmet from 'helmet';
import { Registry, collectDefaultMetrics } from 'prom-client';
import { z } from 'zod';
import { type CommandName, type Session, querySchema } from '../contract.js';
import type { RunLibrary } from '../runs/run-library.js';
import type { Access } from './access.js';
import { answerQuery } from './answer-query.js';
import { Refusal } from './errors.js';
import type { Live } from './live.js';
import { type RunControl, runRoutes } from './run-routes.js';
import { type MetricsSource, firingAlerts } from './source.js';

export interface AppParts {
  source: MetricsSource;
  runs: RunLibrary | null;
  control: RunControl | null;
  access: Access;
  live: Live;
  /** The built page. */
  pageFolder: string;
  /** Is told of what is a fault of ours. */
  onError: (error: unknown) => void;
}

/** The dashboard's addresses: the page's files for anybody who reaches it, everything else for those who may read. */
export function createApp(parts: AppParts): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(helmet({
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], scriptSrc: ["'self'"], styleSrc: ["'self'"], imgSrc: ["'self'", 'data:', 'blob:'], connectSrc: ["'self'"], baseUri: ["'none'"], formAction: ["'none'"], frameAncestors: ["'none'"] } },
    strictTransportSecurity: false,
  }));
  app.use('/api', (_request, response, next) => {
    response.set('cache-control', 'no-store');
    next();
  });
  app.get('/livez', (_request, response) => void response.json({ live: true }));
  addMetrics(app);
  app.post('/api/login', express.json({ limit: '4kb' }), (request, response) => {
    const { password } = z.object({ password: z.string().max(1_000) }).parse(request.body);
    response.set('set-cookie', parts.access.logIn(request, password, Date.now())).json({});
  });
  app.use('/api', (request, response, next) => {
    response.locals['caller'] = parts.access.admit(request, 'read');
    next();
  });
  addMetricQueries(app, parts);
  if (parts.runs) app.use('/api', runRoutes({ ...parts, runs: parts.runs }));
  app.use('/api', () => {
    throw new Refusal(404, parts.runs ? 'There is nothing at this address.' : 'No run directories are watched: start the dashboard with --runs.');
  });
  app.use('/assets', express.static(`${parts.pageFolder}/assets`, { immutable: true, maxAge: '1y', fallthrough: false }));
  app.use(express.static(parts.pageFolder, { maxAge: 0 }));
  app.use(() => {
    throw new Refusal(404, 'There is nothing at this address.');
  });
  app.use(sendProblem(parts.onError));
  return app;
}

function addMetricQueries(app: Express, { source, runs, control, live }: AppParts): void {
  app.get('/api/session', async (_request, response: Response<Session>) => {
    const { user, rights, csrfToken } = response.locals['caller'] as Session;
    const commands: CommandName[] = rights.includes('operate') ? [...(control?.commands ?? [])] : [];
    response.json({ user, rights, csrfToken, source: { kind: source.kind, url: source.url, intervalMs: await source.intervalMs() }, hasRuns: runs !== null, commands });
  });
  app.get('/api/overview', async (_request, response) => {
    const nowMs = Date.now();
    const signal = whileConnected(response);
    const [targets, alerts] = await Promise.all([source.targets(signal), firingAlerts(source, nowMs, signal)]);
    response.json({ nowMs, targets, alerts, problems: source.problems() });
  });
  app.get('/api/query', async (request, response) => void response.json(await answerQuery(querySchema.parse(request.query), source, whileConnected(response))));
  app.get('/api/live', (request, response) => {
    if (live.isFull) throw new Refusal(503, 'Too many pages listen already.');
    const { run } = z.object({ run: z.string().max(200).optional() }).parse(request.query);
    live.connect(response, run);
  });
}

/** The dashboard's own process, for whoever watches the watcher. */
function addMetrics(app: Express): void {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  app.get('/metrics', async (_request, response) => void response.set('content-type', registry.contentType).end(await registry.metrics()));
}

/** Aborts when the page no longer waits for the answer. */
function whileConnected(response: Response): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => controller.abort());
  return controller.signal;
}

function sendProblem(onError: (error: unknown) => void): ErrorRequestHandler {
  return (error: unknown, _request, response, _next) => {
    const refusal = refusalOf(error);
    if (refusal.status === 500) onError(error);
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    response.status(refusal.status).set('content-type', 'application/problem+json').end(JSON.stringify(refusal.document()));
  };
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof z.ZodError) return new Refusal(400, error.issues.map((issue) => `${issue.path.join('.') || 'the query'}: ${issue.message}`).join('; '));
  const { status } = error as { status?: unknown };
  if (status === 404) return new Refusal(404, 'There is nothing at this address.');
  if (typeof status === 'number' && status < 500) return new Refusal(400, 'The request can not be understood.');
  return new Refusal(500, 'This is a fault of the dashboard\'s own.', { cause: error });
}
