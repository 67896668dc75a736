import type { IncomingHttpHeaders } from 'node:http';
import type { Request, Response } from 'express';
import type { Logger } from 'pino';
import type { ClassifyRequest, Services } from '../classify.js';
import type { ServerMetrics } from '../metrics.js';
import { Problem } from '../problems.js';
import type { OpenApiDocument } from '../openapi.js';
import type { Caller, Right } from './keys.js';
import type { Limits } from './limits.js';
import type { BodyReader } from './pictures.js';

/** Finds out who asks. */
export interface Doorkeeper {
  /** Whether anybody is let in. */
  open: boolean;
  /** @throws {Problem} 401 or 403 */
  admit(headers: IncomingHttpHeaders, address: string, right: Right): Caller;
}

/** What every server over HTTP needs, whether it computes itself or hands requests on to replicas. */
export interface Shell {
  metrics: ServerMetrics;
  gate: Doorkeeper;
  reader: BodyReader;
  limits: Limits;
  log: Logger;
  /** Requests a minute and key; null: any number. */
  requestsPerMinute: number | null;
  tls: boolean;
  /** Whose pages may read the answers; `*` stands for all. */
  corsOrigins: readonly string[];
  /** Why no new requests should come, or null. */
  notReady: () => string | null;
  draining: () => boolean;
  /** The OpenAPI document of all routes. */
  document: () => OpenApiDocument;
}

/** What the routes of a server that computes itself work with. */
export interface AppContext extends Shell {
  services: Services;
}

/** One route of the contract. */
export interface Route<Context extends Shell = AppContext> {
  method: 'get' | 'post' | 'put' | 'delete';
  path: string;
  /** null: open to everybody. */
  right: Right | null;
  answer: (request: Request, response: Response, context: Context) => Promise<void> | void;
}

/** @throws {Problem} 503 while loading or draining */
export function requireReady({ notReady, draining }: Shell): void {
  const reason = notReady();
  if (reason !== null) throw new Problem(draining() ? 'draining' : 'loading', `Not ready: ${reason}.`, { retryAfterSeconds: 1 });
}

export const callerOf = (response: Response): Caller => response.locals.caller as Caller;

/** A request for the model, from what its query says. */
export function askedBy(request: Request, response: Response, query: { model?: string | undefined; version?: string | undefined; top_k: number }, { limits }: Shell): ClassifyRequest {
  return { id: request.id as string, model: query.model, version: query.version, topK: query.top_k, key: callerOf(response).name, timeoutMs: limits.waitMs, signal: hangUpOf(response) };
}

/** Aborted when the client goes before it has its answer. */
export function hangUpOf(response: Response): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  if (response.closed) gone.abort();
  return gone.signal;
}
