import { rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type ModelCard, UserError } from '@chameleon/core';
import { preprocess } from '@chameleon/data';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServedModel } from '../compute/served-model.js';
import { preprocessUpload } from '../decode/preprocess.js';
import { problemType } from '../problems.js';
import { classifyAnswerSchema, modelsAnswerSchema, problemSchema } from '../schemas.js';
import { type RunningServer, startServer } from '../server.js';
import { ENGINE, temporaryFolder, writeRandomModel } from '../testing/models.js';
import { type PictureFormat, drawPicture } from '../testing/pictures.js';
import { SILENT, formOf, startTestServer } from '../testing/server.js';
import { createKey } from './keys.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let card: ModelCard;
let server: RunningServer;

beforeAll(async () => {
  folder = await temporaryFolder();
  card = await writeRandomModel(folder.path);
  server = await startTestServer({ models: [{ path: folder.path }] });
});
afterAll(async () => {
  await server.stop();
  await folder[Symbol.asyncDispose]();
});

const post = (path: string, body: RequestInit['body'], headers: Record<string, string> = {}) => fetch(`${server.url}${path}`, { method: 'POST', body: body ?? null, headers });
const bytes = (buffer: Buffer) => new Uint8Array(buffer);

/** A problem document with this status. */
async function expectProblem(response: Response, status: number): Promise<{ detail: string; type: string }> {
  const body: unknown = await response.json();
  expect([response.status, response.headers.get('content-type')], JSON.stringify(body)).toEqual([status, problemType(new URL(response.url).pathname)]);
  const problem = problemSchema.parse(body);
  expect(problem.status).toBe(status);
  expect(problem.request_id).toBe(response.headers.get('x-request-id'));
  return problem;
}

/** What the model says of a picture, computed in this process. */
async function directly(picture: Buffer): Promise<Float32Array> {
  const model = await ServedModel.open(folder.path, 'auto');
  try {
    return model.predict([await preprocess(picture, card.imageSize, card.normalization)]);
  } finally {
    model.dispose();
  }
}

/** The probabilities of an answer's picture, in the order of the model's classes. */
function probabilitiesOf(answer: unknown, index = 0): number[] {
  const { classes } = classifyAnswerSchema.parse(answer).predictions[index]!;
  return card.classes.map((label) => classes.find((entry) => entry.label === label)!.probability);
}

function expectClose(given: readonly number[], expected: Float32Array): void {
  expect(given).toHaveLength(expected.length);
  given.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 5));
}

describe('classify answers what preprocessing and the model give', () => {
  test.each(['jpeg', 'png', 'webp', 'avif', 'gif'] as PictureFormat[])('for %s in a form, as a body and in JSON', async (format) => {
    const picture = await drawPicture(3, { format });
    const expected = await directly(picture);
    for (const response of [
      await post('/v1/classify', formOf(picture)),
      await post('/v1/classify', bytes(picture), { 'content-type': `image/${format}` }),
      await post('/v1/classify', JSON.stringify({ images: [{ b64: picture.toString('base64') }] }), { 'content-type': 'application/json' }),
    ]) {
      const answer: unknown = await response.json();
      expect(response.status, JSON.stringify(answer)).toBe(200);
      expectClose(probabilitiesOf(answer), expected);
    }
  });

  test('for several pictures in their order, with sizes, timings, model and request id', async () => {
    const pictures = [await drawPicture(1), await drawPicture(2, { width: 120, height: 200 }), await drawPicture(3), await drawPicture(4), await drawPicture(5)];
    const response = await post('/v1/classify', formOf(...pictures), { 'x-request-id': 'mine-1' });
    const answer = classifyAnswerSchema.parse(await response.json());
    expect(answer.predictions.map(({ width, height }) => [width, height])).toEqual([[90, 70], [120, 200], [90, 70], [90, 70], [90, 70]]);
    for (const [i, picture] of pictures.entries()) expectClose(probabilitiesOf(answer, i), await directly(picture));
    expect(answer).toMatchObject({ model: { name: 'clothes', version: '1' }, request_id: 'mine-1' });
    expect(answer.timings_ms.total).toBeGreaterThanOrEqual(answer.timings_ms.compute);
    expect(response.headers.get('x-request-id')).toBe('mine-1');
  });

  test('with as many classes as were asked for, most probable first', async () => {
    const answer = classifyAnswerSchema.parse(await (await post('/v1/classify?top_k=2', formOf(await drawPicture(1)))).json());
    const [{ classes }] = answer.predictions as [typeof answer.predictions[number]];
    expect(classes).toHaveLength(2);
    expect(classes[0]!.probability).toBeGreaterThanOrEqual(classes[1]!.probability);
  });

  test('from the very tensor of validation\'s preprocessing', async () => {
    const picture = await drawPicture(9, { width: 333, height: 210 });
    const { pixels } = await preprocessUpload({ bytes: picture, name: 'it', imageSize: 64, normalization: card.normalization, maxPixels: 1e6 });
    expect(Buffer.from(pixels.buffer)).toEqual(Buffer.from((await preprocess(picture, 64, card.normalization)).buffer));
  });
});

describe('a mistake gets a problem document', () => {
  test.each<[string, number, () => Promise<Response>]>([
    ['JSON that is not JSON', 400, () => post('/v1/classify', '{"images":', { 'content-type': 'application/json' })],
    ['JSON of another shape', 400, () => post('/v1/classify', '{"pictures":[]}', { 'content-type': 'application/json' })],
    ['no picture in JSON', 400, () => post('/v1/classify', '{"images":[]}', { 'content-type': 'application/json' })],
    ['base64 that is none', 400, () => post('/v1/classify', '{"images":[{"b64":"*not*base64*"}]}', { 'content-type': 'application/json' })],
    ['a form without a picture', 400, () => post('/v1/classify', new FormData())],
    ['a form with a text field', 400, () => post('/v1/classify', formWith('top_k', '3'))],
    ['a file in another field', 400, () => post('/v1/classify', formWith('file', new Blob(['x'])))],
    ['a setting that there is not', 400, () => post('/v1/classify?topk=3', new FormData())],
    ['a top_k of 0', 400, () => post('/v1/classify?top_k=0', new FormData())],
    ['a setting given twice', 400, () => post('/v1/classify?top_k=1&top_k=2', new FormData())],
    ['a path that can not be decoded', 400, () => fetch(`${server.url}/v2/models/%E0%A4%A`)],
    ['an unknown address', 404, () => fetch(`${server.url}/v1/nothing`)],
    ['an unknown model', 404, async () => post('/v1/classify?model=cloths', formOf(await drawPicture(1)))],
    ['an unknown version', 404, async () => post('/v1/classify?version=9', formOf(await drawPicture(1)))],
    ['another method', 405, () => fetch(`${server.url}/v1/classify`)],
    ['no content type', 415, () => fetch(`${server.url}/v1/classify`, { method: 'POST', body: new Uint8Array([1]) })],
    ['a text', 415, () => post('/v1/classify', 'hello', { 'content-type': 'text/plain' })],
    ['a compressed body', 415, () => post('/v1/classify', 'xx', { 'content-type': 'image/jpeg', 'content-encoding': 'gzip' })],
    ['a text called a picture', 415, () => post('/v1/classify', 'hello', { 'content-type': 'image/jpeg' })],
  ])('%s: %i', async (_name, status, ask) => {
    await expectProblem(await ask(), status);
  });

  test('the nearest model is named', async () => {
    const { detail } = await expectProblem(await post('/v1/classify?model=cloths', formOf(await drawPicture(1))), 404);
    expect(detail).toContain('Did you mean clothes?');
  });

  test('the methods of an address are named', async () => {
    expect((await fetch(`${server.url}/v1/classify`)).headers.get('allow')).toBe('POST');
  });
});

function formWith(name: string, value: string | Blob): FormData {
  const form = new FormData();
  form.append(name, value);
  return form;
}

test('the models are listed with what they are', async () => {
  const { models } = modelsAnswerSchema.parse(await (await fetch(`${server.url}/v1/models`)).json());
  expect(models).toMatchObject([{ name: 'clothes', labels: { stable: '1', canary: null }, versions: [{ version: '1', status: 'ready', architecture: 'resnet16w32', classes: card.classes, precision: 'float32', run_id: 'run-1' }] }]);
});

test('figures are counted under bounded labels, with exemplars where OpenMetrics is asked for', async () => {
  await post('/v1/classify', formOf(await drawPicture(1)), { 'x-request-id': 'exemplary' });
  await fetch(`${server.url}/made/up/${Date.now()}`);
  const read = async (accept: string) => (await fetch(`${server.url}/metrics`, { headers: { accept } })).text();
  const openMetrics = await read('application/openmetrics-text; version=1.0.0'), plain = await read('text/plain');
  expect(openMetrics).toMatch(/chameleon_predict_phase_seconds_bucket\{[^}]*phase="decode"\} \d+ # \{request_id="/);
  expect(openMetrics).toMatch(/# EOF\n$/);
  for (const text of [plain, openMetrics]) {
    expect(text).toMatch(/chameleon_http_requests_total\{route="\/v1\/classify",method="POST",status="200"\} \d+/);
    expect(text).toMatch(/chameleon_http_requests_total\{route="other",method="GET",status="404"\} \d+/);
    expect(text).toMatch(/chameleon_model_info\{model="clothes",version="1",label="stable",architecture="resnet16w32",backend="libtorch",dtype="float32"\} 1/);
    expect(text).toMatch(/chameleon_predict_queue_length\{model="clothes"\} 0/);
    expect(text).toMatch(/chameleon_predictions_total\{model="clothes",version="1",class="\w+"\} \d+/);
    expect(text).toMatch(/chameleon_predict_batch_size_count\{model="clothes"\} \d+/);
    expect(text).toMatch(/chameleon_rejected_total\{reason="unsupported-type"\} \d+/);
    expect(text).not.toContain('made/up');
  }
});

test('what is not HTTP is refused with a problem document', async () => {
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write('NONSENSE\r\n\r\n'));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString())).on('end', () => resolve(text)).on('error', reject);
  });
  expect(answer).toMatch(/^HTTP\/1\.1 400 .*application\/problem\+json/s);
});

describe('who may ask', () => {
  test('a server beyond loopback needs keys or --insecure', async () => {
    const start = startServer({ models: [{ path: folder.path }], engine: ENGINE, host: '0.0.0.0', port: 0 });
    await expect(start).rejects.toThrow(UserError);
    await expect(start).rejects.toThrow(/--keys FILE, or --insecure/);
  });

  test('with keys: 401 without one or with a wrong one, 403 without the right', async () => {
    const asker = createKey('asker', ['classify']), operator = createKey('operator', ['classify', 'operate']);
    const keysFile = join(folder.path, 'keys.json');
    await writeFile(keysFile, JSON.stringify({ keys: [asker.stored, operator.stored] }));
    await using guarded = await startTestServer({ models: [{ path: folder.path }], keysFile });
    const ask = (headers: Record<string, string>) => fetch(`${guarded.url}/v1/models`, { headers });
    const canary = (headers: Record<string, string>) => fetch(`${guarded.url}/v1/models/clothes/labels/canary`, { method: 'PUT', body: '{"version":null}', headers: { 'content-type': 'application/json', ...headers } });
    const refused = await ask({});
    expect(refused.headers.get('www-authenticate')).toBe('Bearer');
    await expectProblem(refused, 401);
    await expectProblem(await ask({ authorization: 'Bearer chm_wrong' }), 401);
    expect((await ask({ authorization: `Bearer ${asker.text}` })).status).toBe(200);
    expect((await ask({ 'x-api-key': asker.text })).status).toBe(200);
    await expectProblem(await canary({ 'x-api-key': asker.text }), 403);
    expect((await canary({ 'x-api-key': operator.text })).status).toBe(200);
    expect((await fetch(`${guarded.url}/readyz`)).status).toBe(200);
    await rm(keysFile);
  });

  test('without keys nothing is changed under a name that is not localhost\'s', async () => {
    const text = await rawRequest('PUT /v1/models/clothes/labels/canary HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"version":null}');
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
  });

  test('more requests a minute than allowed: 429 with Retry-After', async () => {
    await using limited = await startTestServer({ models: [{ path: folder.path }], requestsPerMinute: 2 });
    const ask = () => fetch(`${limited.url}/v1/models`);
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 200]);
    const refused = await ask();
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    const { type } = await expectProblem(refused, 429);
    expect(type).toBe('urn:chameleon:problem:rate-limited');
  });

  test('each key has its own requests a minute, whatever the others do', async () => {
    const keys = ['phone', 'cluster'].map((name) => createKey(name, ['classify']));
    const keysFile = join(folder.path, 'limited-keys.json');
    await writeFile(keysFile, JSON.stringify({ keys: keys.map(({ stored }) => stored) }));
    await using limited = await startTestServer({ models: [{ path: folder.path }], keysFile, requestsPerMinute: 2 });
    const ask = async ({ text }: { text: string }) => (await fetch(`${limited.url}/v1/models`, { headers: { authorization: `Bearer ${text}` } })).status;
    const [phone, cluster] = keys as [typeof keys[number], typeof keys[number]];
    expect([await ask(phone), await ask(phone), await ask(phone), await ask(phone)]).toEqual([200, 200, 429, 429]);
    expect([await ask(cluster), await ask(cluster), await ask(cluster)]).toEqual([200, 200, 429]);
    expect((await fetch(`${limited.url}/readyz`)).status).toBe(200);
  });
});

function rawRequest(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.on('data', (chunk) => (answer += chunk.toString())).on('end', () => resolve(answer)).on('error', reject);
  });
}

describe('starting', () => {
  test('the server answers while the model loads: live, not ready, 503', async () => {
    const starting = await startServer({ models: [{ path: folder.path }], engine: ENGINE, port: 0, decodeThreads: 1, threads: 1, logger: SILENT });
    try {
      expect((await fetch(`${starting.url}/livez`)).status).toBe(200);
      await expectProblem(await fetch(`${starting.url}/readyz`), 503);
      const early = await fetch(`${starting.url}/v1/classify`, { method: 'POST', body: formOf(await drawPicture(1)) });
      expect(early.headers.get('retry-after')).toBe('1');
      await expectProblem(early, 503);
      await starting.ready;
      expect((await fetch(`${starting.url}/readyz`)).status).toBe(200);
    } finally {
      await starting.stop();
    }
  });

  test('a damaged model: never ready, and said why', async () => {
    await using other = await temporaryFolder();
    await writeRandomModel(other.path);
    await writeFile(join(other.path, 'model.safetensors'), 'damaged');
    const starting = await startServer({ models: [{ path: other.path }], engine: ENGINE, port: 0, decodeThreads: 1, logger: SILENT });
    await expect(starting.ready).rejects.toThrow(/its digest differs/);
    await expectProblem(await fetch(`${starting.url}/readyz`), 503);
    expect((await (await fetch(`${starting.url}/v1/models`)).json() as { models: { versions: unknown[] }[] }).models[0]!.versions).toMatchObject([{ status: 'failed', reason: expect.stringContaining('digest') as unknown }]);
    await starting.stop();
  });

  test('a port that is taken, and a folder without a model, are said', async () => {
    await expect(startServer({ models: [{ path: folder.path }], engine: ENGINE, port: server.port })).rejects.toThrow(/another program listens there already/);
    const starting = await startServer({ models: [{ path: join(folder.path, 'nowhere') }], engine: ENGINE, port: 0, logger: SILENT });
    await expect(starting.ready).rejects.toThrow(/holds no trained model/);
    await starting.stop();
  });
});
