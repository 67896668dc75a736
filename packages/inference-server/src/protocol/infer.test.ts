import { type ModelCard } from '@chameleon/core';
import { preprocess } from '@chameleon/data';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServedModel } from '../compute/served-model.js';
import type { RunningServer } from '../server.js';
import { temporaryFolder, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { startTestServer } from '../testing/server.js';
import { inferAnswerSchema, modelMetadataSchema, serverMetadataSchema } from './schemas.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let card: ModelCard;
let server: RunningServer;
let pictures: Buffer[];
let pixels: Float32Array[];
let expected: Float32Array;

beforeAll(async () => {
  folder = await temporaryFolder();
  card = await writeRandomModel(folder.path, { imageSize: 32 });
  server = await startTestServer({ models: [{ path: folder.path }] });
  pictures = [await drawPicture(1), await drawPicture(2)];
  pixels = await Promise.all(pictures.map((picture) => preprocess(picture, 32, card.normalization)));
  const model = await ServedModel.open(folder.path, 'auto');
  expected = model.predict(pixels);
  model.dispose();
});
afterAll(async () => {
  await server.stop();
  await folder[Symbol.asyncDispose]();
});

const url = (path: string) => `${server.url}/v2${path}`;
const infer = (body: RequestInit['body'], headers: Record<string, string> = {}, path = '/models/clothes/infer') => fetch(url(path), { method: 'POST', body: body ?? null, headers });
const asJson = async (request: object, path?: string) => {
  const response = await infer(JSON.stringify(request), { 'content-type': 'application/json' }, path);
  return { status: response.status, body: (await response.json()) as unknown };
};
const bestLabels = () => [0, 1].map((row) => card.classes[[...expected.subarray(3 * row, 3 * row + 3)].indexOf(Math.max(...expected.subarray(3 * row, 3 * row + 3)))]);

function expectAnswer(body: unknown): void {
  const { model_name: name, model_version: version, outputs } = inferAnswerSchema.parse(body);
  expect([name, version]).toEqual(['clothes', '1']);
  expect(outputs.map(({ name: output, shape, datatype }) => [output, shape, datatype])).toEqual([['probabilities', [2, 3], 'FP32'], ['label', [2], 'BYTES']]);
  (outputs[0]!.data as number[]).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 5));
  expect(outputs[1]!.data).toEqual(bestLabels());
}

describe('metadata and health', () => {
  test('are as the protocol has them', async () => {
    expect(serverMetadataSchema.parse(await (await fetch(url(''))).json())).toMatchObject({ name: 'chameleon', extensions: ['binary_tensor_data'] });
    const metadata = modelMetadataSchema.parse(await (await fetch(url('/models/clothes'))).json());
    expect(metadata).toMatchObject({ name: 'clothes', versions: ['1'], inputs: [{ name: 'image', datatype: 'BYTES', shape: [-1] }, { name: 'pixels', datatype: 'FP32', shape: [-1, 32, 32, 3] }] });
    for (const path of ['/health/live', '/health/ready', '/models/clothes/ready', '/models/clothes/versions/1/ready', '/models/clothes/versions/1']) expect((await fetch(url(path))).status, path).toBe(200);
    for (const path of ['/models/nothing', '/models/nothing/ready', '/models/clothes/versions/9']) expect((await fetch(url(path))).status, path).toBe(404);
  });
});

describe('infer', () => {
  test('takes preprocessed pixels in JSON, flat and nested', async () => {
    const flat = pixels.flatMap((picture) => [...picture]);
    const nested = pixels.map((picture) => Array.from({ length: 32 }, (_, y) => Array.from({ length: 32 }, (_, x) => [...picture.subarray(3 * (32 * y + x), 3 * (32 * y + x) + 3)])));
    for (const data of [flat, nested]) {
      const { status, body } = await asJson({ id: 'mine', inputs: [{ name: 'pixels', shape: [2, 32, 32, 3], datatype: 'FP32', data }] });
      expect([status, (body as { id: string }).id]).toEqual([200, 'mine']);
      expectAnswer(body);
    }
  });

  test('takes encoded pictures in JSON, and the version by its path', async () => {
    const { body } = await asJson({ inputs: [{ name: 'image', shape: [2], datatype: 'BYTES', data: pictures.map((picture) => picture.toString('base64')) }] }, '/models/clothes/versions/1/infer');
    expectAnswer(body);
  });

  test('takes and gives binary tensors', async () => {
    const raw = Buffer.concat(pixels.map((picture) => Buffer.from(picture.buffer)));
    const header = Buffer.from(JSON.stringify({ inputs: [{ name: 'pixels', shape: [2, 32, 32, 3], datatype: 'FP32', parameters: { binary_data_size: raw.length } }], parameters: { binary_data_output: true } }));
    const response = await infer(new Uint8Array(Buffer.concat([header, raw])), { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(header.length) });
    expect(response.status).toBe(200);
    const body = Buffer.from(await response.arrayBuffer()), length = Number(response.headers.get('inference-header-content-length'));
    const answer = inferAnswerSchema.parse(JSON.parse(body.subarray(0, length).toString()));
    const [probabilities, label] = answer.outputs.map((output) => output.parameters!.binary_data_size as number) as [number, number];
    const values = new Float32Array(new Uint8Array(body.subarray(length, length + probabilities)).buffer);
    values.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 5));
    const texts = body.subarray(length + probabilities, length + probabilities + label);
    expect(texts.subarray(4, 4 + texts.readUInt32LE(0)).toString()).toBe(bestLabels()[0]);
  });

  test('takes encoded pictures in binary, and gives the outputs that were asked for', async () => {
    const raw = Buffer.concat(pictures.flatMap((picture) => [Buffer.from(Uint32Array.of(picture.length).buffer), picture]));
    const header = Buffer.from(JSON.stringify({ inputs: [{ name: 'image', shape: [2], datatype: 'BYTES', parameters: { binary_data_size: raw.length } }], outputs: [{ name: 'label' }] }));
    const response = await infer(new Uint8Array(Buffer.concat([header, raw])), { 'inference-header-content-length': String(header.length) });
    expect(inferAnswerSchema.parse(await response.json()).outputs).toEqual([{ name: 'label', shape: [2], datatype: 'BYTES', data: bestLabels() }]);
  });

  const one = { name: 'pixels', shape: [1, 32, 32, 3], datatype: 'FP32' };
  test.each<[string, number, object]>([
    ['an input that there is not', 400, { inputs: [{ ...one, name: 'x', data: [] }] }],
    ['two inputs', 400, { inputs: [{ ...one, data: [] }, { ...one, data: [] }] }],
    ['an output that there is not', 400, { inputs: [{ ...one, data: Array.from({ length: 3072 }, () => 0) }], outputs: [{ name: 'x' }] }],
    ['binary data that is not there', 400, { inputs: [{ ...one, parameters: { binary_data_size: 12_288 } }] }],
    ['texts for numbers', 400, { inputs: [{ ...one, data: Array.from({ length: 3072 }, () => 'x') }] }],
    ['a count that differs from the shape', 400, { inputs: [{ name: 'image', shape: [2], datatype: 'BYTES', data: ['AAAA'] }] }],
    ['no picture', 400, { inputs: [{ name: 'image', shape: [0], datatype: 'BYTES', data: [] }] }],
    ['bytes that are no picture', 415, { inputs: [{ name: 'image', shape: [1], datatype: 'BYTES', data: ['AAAA'] }] }],
  ])('refuses %s: %i', async (_name, status, request) => {
    const answer = await asJson(request);
    expect(answer.status, JSON.stringify(answer.body)).toBe(status);
    expect((answer.body as { error: string; detail: string }).error).toBe((answer.body as { detail: string }).detail);
  });

  test('refuses NaN in a binary tensor', async () => {
    const raw = Buffer.from(new Float32Array(3072).fill(NaN).buffer), header = Buffer.from(JSON.stringify({ inputs: [{ ...one, parameters: { binary_data_size: raw.length } }] }));
    const response = await infer(new Uint8Array(Buffer.concat([header, raw])), { 'inference-header-content-length': String(header.length) });
    expect([response.status, ((await response.json()) as { detail: string }).detail]).toEqual([400, 'pixels has values that are not finite numbers.']);
  });
});
