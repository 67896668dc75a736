import type { Request } from 'express';
import { classify } from '../classify.js';
import { explain } from '../explain/explain.js';
import { openInferenceRoutes, openInferenceServerRoutes } from '../protocol/routes.js';
import { addVersionBodySchema, canaryBodySchema, classifyQuerySchema, explainQuerySchema, stableBodySchema } from '../schemas.js';
import { type Route, type Shell, askedBy, callerOf, requireReady } from './context.js';
import { pageRoutes } from './pages.js';

/** What asks the model. */
const classifyRoutes: readonly Route[] = [
  { method: 'post', path: '/v1/classify', right: 'classify', answer: async (request, response, context) => {
    const query = classifyQuerySchema.parse(request.query);
    context.services.repository.ensureRoom(query.model, query.version, callerOf(response).name);
    const pictures = await context.reader.pictures(request, response);
    response.json(await classify(pictures, askedBy(request, response, query, context), context.services));
  } },
  { method: 'post', path: '/v1/explain', right: 'classify', answer: async (request, response, context) => {
    const query = explainQuerySchema.parse(request.query);
    context.services.repository.ensureRoom(query.model, query.version, callerOf(response).name);
    const pictures = await context.reader.pictures(request, response);
    response.json(await explain(pictures, { ...askedBy(request, response, query, context), label: query.label }, context.services));
  } },
  { method: 'get', path: '/v1/models', right: 'classify', answer: (_request, response, { services }) => void response.json({ models: services.repository.list() }) },
];

/** What changes which versions are served. */
const operateRoutes: readonly Route[] = [
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
];

/** What a server answers of itself, whoever computes. */
export const ownRoutes: readonly Route<Shell>[] = [
  { method: 'get', path: '/livez', right: null, answer: (_request, response) => void response.json({ live: true }) },
  { method: 'get', path: '/readyz', right: null, answer: (_request, response, context) => {
    requireReady(context);
    response.json({ ready: true });
  } },
  ...openInferenceServerRoutes,
  ...pageRoutes,
];

/** The HTTP contract: which address is answered by what. */
export const ROUTES: readonly Route[] = [
  ...classifyRoutes,
  ...operateRoutes,
  { method: 'get', path: '/metrics', right: null, answer: async (request, response, { metrics }) => {
    const { contentType, body } = await metrics.expose(acceptsOpenMetrics(request));
    response.setHeader('Content-Type', contentType);
    response.end(body);
  } },
  ...ownRoutes,
  ...openInferenceRoutes,
];

export const acceptsOpenMetrics = (request: Request): boolean => (request.headers.accept ?? '').includes('application/openmetrics-text');

const text = (parameter: string | string[] | undefined): string => (Array.isArray(parameter) ? parameter.join('/') : (parameter ?? ''));
