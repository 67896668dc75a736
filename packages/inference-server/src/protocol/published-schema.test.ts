import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { fromJSONSchema } from 'zod';
import { temporaryFolder, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { startTestServer } from '../testing/server.js';

const folder = process.env.CHAMELEON_TEST_SCHEMAS;
type Published = { components: { schemas: Record<string, object> } };

/** The Open Inference Protocol's own REST schema judges what we answer, and the requests that we take. */
describe.skipIf(!folder)('open_inference_rest.yaml (set CHAMELEON_TEST_SCHEMAS to its folder to run)', () => {
  let schemas: Record<string, object>, server: Awaited<ReturnType<typeof startTestServer>>, model: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeAll(async () => {
    schemas = (parse(await readFile(join(folder!, 'open_inference_rest.yaml'), 'utf8')) as Published).components.schemas;
    model = await temporaryFolder();
    await writeRandomModel(model.path, { imageSize: 32 });
    server = await startTestServer({ models: [{ path: model.path }] });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await model[Symbol.asyncDispose]();
  });

  /** OpenAPI keeps its schemas under components, JSON Schema under $defs. */
  function faults(name: string, value: unknown): unknown {
    const $defs = JSON.parse(JSON.stringify(schemas).replaceAll('#/components/schemas/', '#/$defs/')) as Record<string, object>;
    return fromJSONSchema({ ...$defs[name], $defs } as Parameters<typeof fromJSONSchema>[0]).safeParse(value).error?.issues;
  }
  const ask = async (path: string, body?: unknown): Promise<unknown> => (await fetch(`${server.url}/v2${path}`, body === undefined ? {} : { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })).json();

  test('has our metadata, answers and errors as they are', async () => {
    expect(faults('metadata_server_response', await ask(''))).toBeUndefined();
    expect(faults('metadata_model_response', await ask('/models/clothes'))).toBeUndefined();
    expect(faults('metadata_model_error_response', await ask('/models/nothing'))).toBeUndefined();
    const request = { id: '1', inputs: [{ name: 'image', datatype: 'BYTES', shape: [1], data: [(await drawPicture(1)).toString('base64')] }], outputs: [{ name: 'probabilities' }] };
    expect(faults('inference_request', request)).toBeUndefined();
    const answer = await ask('/models/clothes/infer', request);
    expect(answer).toMatchObject({ model_name: 'clothes', id: '1' });
    expect(faults('inference_response', answer)).toBeUndefined();
    expect(faults('inference_error_response', await ask('/models/clothes/infer', { inputs: 3 }))).toBeUndefined();
  });

  test('can tell a wrong answer from a right one', () => {
    expect(faults('inference_response', { model_name: 'clothes', outputs: [{ name: 'x', shape: ['1'], datatype: 'FP32', data: [] }] })).toBeDefined();
    expect(faults('metadata_server_response', { name: 'chameleon', version: '1' })).toBeDefined();
  });
});
