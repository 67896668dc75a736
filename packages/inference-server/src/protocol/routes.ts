import { createRequire } from 'node:module';
import type { Request, Response } from 'express';
import { type AppContext, type Route, type Shell, askedBy, requireReady } from '../http/context.js';
import { Problem } from '../problems.js';
import { INPUTS, OUTPUTS, infer } from './infer.js';
import { parseInfer } from './tensors.js';

const { version: serverVersion } = createRequire(import.meta.url)('../../package.json') as { version: string };

const LENGTH_HEADER = 'Inference-Header-Content-Length';

function metadata(request: Request, response: Response, { services }: AppContext): void {
  const served = services.repository.resolve(request.params.model as string, request.params.version as string | undefined);
  const { imageSize, classes, architecture } = served.card;
  response.json({
    name: served.name,
    versions: services.repository.listOne(served.name).versions.filter(({ status }) => status === 'ready').map(({ version }) => version),
    platform: `chameleon_${architecture}`,
    inputs: [{ name: INPUTS.encoded, datatype: 'BYTES', shape: [-1] }, { name: INPUTS.pixels, datatype: 'FP32', shape: [-1, imageSize, imageSize, 3] }],
    outputs: [{ name: OUTPUTS.probabilities, datatype: 'FP32', shape: [-1, classes.length] }, { name: OUTPUTS.label, datatype: 'BYTES', shape: [-1] }],
  });
}

function ready(request: Request, response: Response, { services }: AppContext): void {
  const served = services.repository.resolve(request.params.model as string, request.params.version as string | undefined);
  if (served.status !== 'ready') throw new Problem('loading', `${served.name}, version ${served.version}, is ${served.status}.`, { retryAfterSeconds: 1 });
  response.json({ name: served.name, ready: true });
}

async function answerInfer(request: Request, response: Response, context: AppContext): Promise<void> {
  const length = request.get(LENGTH_HEADER);
  const asked = askedBy(request, response, { model: request.params.model as string, version: request.params.version as string | undefined, top_k: 1 }, context);
  context.services.repository.ensureRoom(asked.model, asked.version, asked.key);
  const parsed = parseInfer(await context.reader.raw(request, response), length);
  const { answer, binary } = await infer(parsed, asked, context.limits.pictures, context.services);
  if (binary.length === 0) {
    response.json(answer);
    return;
  }
  const header = Buffer.from(JSON.stringify(answer));
  response.setHeader(LENGTH_HEADER, String(header.length));
  response.setHeader('Content-Type', 'application/octet-stream');
  response.end(Buffer.concat([header, ...binary]));
}

/** What the Open Inference Protocol says of the server itself. */
export const openInferenceServerRoutes: readonly Route<Shell>[] = [
  { method: 'get', path: '/v2', right: 'classify', answer: (_request, response) => void response.json({ name: 'chameleon', version: serverVersion, extensions: ['binary_tensor_data'] }) },
  { method: 'get', path: '/v2/health/live', right: null, answer: (_request, response) => void response.json({ live: true }) },
  { method: 'get', path: '/v2/health/ready', right: null, answer: (_request, response, context) => {
    requireReady(context);
    response.json({ ready: true });
  } },
];

/** The Open Inference Protocol's calls of a model. */
export const openInferenceRoutes: readonly Route[] = [
  ...['/v2/models/:model', '/v2/models/:model/versions/:version'].flatMap((path): Route[] => [
    { method: 'get', path, right: 'classify', answer: metadata },
    { method: 'get', path: `${path}/ready`, right: 'classify', answer: ready },
    { method: 'post', path: `${path}/infer`, right: 'classify', answer: answerInfer },
  ]),
];
