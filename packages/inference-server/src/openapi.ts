import { createRequire } from 'node:module';
import { OpenAPIRegistry, OpenApiGeneratorV31, type ResponseConfig } from '@asteasolutions/zod-to-openapi';
import type { ZodType } from 'zod';
import type { Route } from './http/context.js';
import { inferAnswerSchema, inferRequestSchema, modelMetadataSchema, serverMetadataSchema } from './protocol/schemas.js';
import { problemType } from './problems.js';
import { addVersionBodySchema, canaryBodySchema, classifyAnswerSchema, classifyQuerySchema, explainAnswerSchema, explainQuerySchema, imagesBodySchema, modelSchema, modelsAnswerSchema, problemSchema, stableBodySchema } from './schemas.js';
import { z } from './zod-openapi.js';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };

/** What the document says of a route, beside its address. */
interface Operation {
  summary: string;
  query?: z.ZodObject;
  body?: Record<string, ZodType | { type: string; format?: string }>;
  status?: number;
  answer: ZodType | string;
  /** Statuses of problem documents. */
  problems: readonly number[];
}

const registry = new OpenAPIRegistry();
const named = {
  classifyAnswer: registry.register('ClassifyAnswer', classifyAnswerSchema),
  explainAnswer: registry.register('ExplainAnswer', explainAnswerSchema),
  models: registry.register('Models', modelsAnswerSchema),
  model: registry.register('Model', modelSchema),
  images: registry.register('Images', imagesBodySchema),
  problem: registry.register('Problem', problemSchema),
  infer: registry.register('InferRequest', inferRequestSchema),
  inferAnswer: registry.register('InferAnswer', inferAnswerSchema),
};
const apiKey = registry.registerComponent('securitySchemes', 'apiKey', { type: 'http', scheme: 'bearer', description: 'An API key; `X-API-Key: …` does the same. Needed where the server has keys.' });

const pictureBodies = { 'multipart/form-data': z.object({ image: z.array(z.any().meta({ type: 'string', format: 'binary' })) }).meta({ description: 'One or more files in fields called image.' }), 'image/*': { type: 'string', format: 'binary' }, 'application/json': named.images };
const OF_PICTURES = [400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503];
const OF_OPERATION = [400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503];
const OF_READING = [401, 403, 404, 429, 500, 503];
const readyAnswer = z.object({ ready: z.literal(true) });
const modelReadyAnswer = z.object({ name: z.string(), ready: z.literal(true) });

const perModel = (path: string): Record<string, Operation> => ({
  [`get ${path}`]: { summary: 'A model\'s tensors (Open Inference Protocol v2)', answer: modelMetadataSchema, problems: OF_READING },
  [`get ${path}/ready`]: { summary: 'Whether a model is ready (Open Inference Protocol v2)', answer: modelReadyAnswer, problems: OF_READING },
  [`post ${path}/infer`]: { summary: 'Infers with tensors or encoded pictures (Open Inference Protocol v2)', body: { 'application/json': named.infer, 'application/octet-stream': { type: 'string', format: 'binary' } }, answer: named.inferAnswer, problems: OF_PICTURES },
});

/** Of each route, by method and path. */
const OPERATIONS: Record<string, Operation> = {
  'post /v1/classify': { summary: 'Classifies pictures', query: classifyQuerySchema, body: pictureBodies, answer: named.classifyAnswer, problems: OF_PICTURES },
  'post /v1/explain': { summary: 'Classifies pictures and shows where the model looked (Grad-CAM)', query: explainQuerySchema, body: pictureBodies, answer: named.explainAnswer, problems: OF_PICTURES },
  'get /v1/models': { summary: 'The models, their versions and labels', answer: named.models, problems: [401, 403, 429, 500] },
  'post /v1/models/{name}/versions': { summary: 'Loads and warms a version beside the others', body: { 'application/json': addVersionBodySchema }, status: 201, answer: named.model, problems: OF_OPERATION },
  'delete /v1/models/{name}/versions/{version}': { summary: 'Ends a version that no label stands at', answer: named.model, problems: OF_OPERATION },
  'put /v1/models/{name}/labels/stable': { summary: 'Swaps the stable version, or goes back to an older one', body: { 'application/json': stableBodySchema }, answer: named.model, problems: OF_OPERATION },
  'put /v1/models/{name}/labels/canary': { summary: 'Begins, changes or ends a canary', body: { 'application/json': canaryBodySchema }, answer: named.model, problems: OF_OPERATION },
  'get /livez': { summary: 'Whether the process lives', answer: z.object({ live: z.literal(true) }), problems: [] },
  'get /readyz': { summary: 'Whether requests should come', answer: readyAnswer, problems: [503] },
  'get /metrics': { summary: 'Figures for Prometheus; OpenMetrics with exemplars where it is accepted', answer: 'text/plain', problems: [500] },
  'get /v2': { summary: 'The server (Open Inference Protocol v2)', answer: serverMetadataSchema, problems: [401, 403, 429] },
  'get /v2/health/live': { summary: 'Whether the process lives (Open Inference Protocol v2)', answer: z.object({ live: z.literal(true) }), problems: [] },
  'get /v2/health/ready': { summary: 'Whether requests should come (Open Inference Protocol v2)', answer: readyAnswer, problems: [503] },
  ...perModel('/v2/models/{model}'),
  ...perModel('/v2/models/{model}/versions/{version}'),
  'get /': { summary: 'A page to try the model on', answer: 'text/html', problems: [] },
  'get /page.js': { summary: 'The page\'s program', answer: 'text/javascript', problems: [] },
  'get /page.css': { summary: 'The pages\' looks', answer: 'text/css', problems: [] },
  'get /openapi.json': { summary: 'This document', answer: z.record(z.string(), z.unknown()), problems: [] },
  'get /docs': { summary: 'This document to read', answer: 'text/html', problems: [] },
};

export type OpenApiDocument = ReturnType<OpenApiGeneratorV31['generateDocument']>;

/** The OpenAPI document of these routes. Throws when a route is not described, or a description has no route. */
export function openApiDocument(routes: readonly Pick<Route, 'method' | 'path' | 'right'>[]): OpenApiDocument {
  const described = new OpenAPIRegistry([registry]);
  const left = new Set(Object.keys(OPERATIONS));
  for (const { method, path: pattern, right } of routes) {
    const path = pattern.replace(/:(\w+)/g, '{$1}');
    const operation = OPERATIONS[`${method} ${path}`];
    if (!operation) throw new Error(`${method} ${path} is not described in openapi.ts`);
    left.delete(`${method} ${path}`);
    described.registerPath({ method, path, summary: operation.summary, request: requestOf(path, operation), responses: responsesOf(path, operation), ...(right === null ? {} : { security: [{ [apiKey.name]: [] }], description: `Needs the right to ${right}.` }) });
  }
  if (left.size > 0) throw new Error(`openapi.ts describes what is not offered: ${[...left].join(', ')}`);
  return new OpenApiGeneratorV31(described.definitions).generateDocument({ openapi: '3.1.0', info: { title: 'Chameleon', version, description: 'Classifies pictures by a fine-tuned ResNet. Errors are problem documents (RFC 9457).' } });
}

function requestOf(path: string, { query, body }: Operation) {
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => [name!, z.string()] as const);
  return {
    ...(query ? { query } : {}),
    ...(parameters.length > 0 ? { params: z.object(Object.fromEntries(parameters)) } : {}),
    ...(body ? { body: { required: true, content: Object.fromEntries(Object.entries(body).map(([type, schema]) => [type, { schema: schema as ZodType }])) } } : {}),
  };
}

function responsesOf(path: string, { status = 200, answer, problems }: Operation): Record<number, ResponseConfig> {
  const success: ResponseConfig = { description: 'The answer', content: typeof answer === 'string' ? { [answer]: { schema: { type: 'string' } } } : { 'application/json': { schema: answer } } };
  const refusals = problems.map((code) => [code, { description: 'A problem document', content: { [problemType(path)]: { schema: named.problem } } }] as const);
  return { [status]: success, ...Object.fromEntries(refusals) };
}
