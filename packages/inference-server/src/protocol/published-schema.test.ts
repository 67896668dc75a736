import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { fromJSONSchema } from 'zod';
import { createKey } from '../http/keys.js';
import { temporaryFolder, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { startTestServer } from '../testing/server.js';

const folder = process.env.CHAMELEON_TEST_SCHEMAS;
type Method = 'get' | 'post';
interface Operation { responses: Record<string, { content?: { 'application/json': { schema: { $ref: string } } } }> }
interface Published { paths: Record<string, Partial<Record<Method, Operation>>>; components: { schemas: Record<string, object> } }

/** The Open Inference Protocol's own REST document judges what we answer at each of its addresses, and the requests that we take. */
describe.skipIf(!folder)('open_inference_rest.yaml (set CHAMELEON_TEST_SCHEMAS to its folder to run)', () => {
  let published: Published, server: Awaited<ReturnType<typeof startTestServer>>, model: Awaited<ReturnType<typeof temporaryFolder>>, picture: string;
  beforeAll(async () => {
    published = parse(await readFile(join(folder!, 'open_inference_rest.yaml'), 'utf8')) as Published;
    model = await temporaryFolder();
    await writeRandomModel(model.path, { imageSize: 32 });
    server = await startTestServer({ models: [{ path: model.path }] });
    picture = (await drawPicture(1)).toString('base64');
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await model[Symbol.asyncDispose]();
  });

  /** OpenAPI keeps its schemas under components, JSON Schema under $defs. */
  function faults(name: string, value: unknown): unknown {
    const $defs = JSON.parse(JSON.stringify(published.components.schemas).replaceAll('#/components/schemas/', '#/$defs/')) as Record<string, object>;
    if (!$defs[name]) throw new Error(`the document has no schema ${name}`);
    return fromJSONSchema({ ...$defs[name], $defs } as Parameters<typeof fromJSONSchema>[0]).safeParse(value).error?.issues;
  }
  /** The schema that the document names for an answer, if it does. */
  const schemaOf = ({ responses }: Operation, status: number): string | undefined => responses[status]?.content?.['application/json'].schema.$ref.split('/').at(-1);
  /** Its addresses as ours: with the version, and without, which it calls optional. */
  const addressesOf = (path: string, name = 'clothes'): string[] => [...new Set([path, path.replace('/versions/${MODEL_VERSION}', '')])].map((one) => one.replace('${MODEL_NAME}', name).replace('${MODEL_VERSION}', '1'));
  const operationsOf = (method: Method) => Object.entries(published.paths).flatMap(([path, { [method]: operation }]) => (operation ? [{ path, operation }] : []));
  const ask = async (path: string, body?: unknown, { url }: { url: string } = server): Promise<{ status: number; type: string | null; body: unknown }> => {
    const response = await fetch(`${url}${path}`, body === undefined ? {} : { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    return { status: response.status, type: response.headers.get('content-type'), body: await response.json() };
  };

  const zeros = (rows: number) => Array.from({ length: rows * 32 * 32 * 3 }, () => 0);
  const requests = (): [name: string, request: object, outputs: string[]][] => [
    ['a picture', { id: '42', inputs: [{ name: 'image', datatype: 'BYTES', shape: [1], data: [picture] }], outputs: [{ name: 'probabilities' }] }, ['probabilities']],
    ['two pictures', { inputs: [{ name: 'image', datatype: 'BYTES', shape: [2], data: [picture, picture] }] }, ['probabilities', 'label']],
    ['flat pixels', { id: 'a', inputs: [{ name: 'pixels', datatype: 'FP32', shape: [1, 32, 32, 3], data: zeros(1) }], outputs: [{ name: 'label' }] }, ['label']],
    ['nested pixels', { inputs: [{ name: 'pixels', datatype: 'FP32', shape: [1, 32, 32, 3], data: [Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [0, 0, 0]))] }] }, ['probabilities', 'label']],
  ];

  test('has every GET as we answer it', async () => {
    const asked = operationsOf('get').flatMap(({ path, operation }) => addressesOf(path).map((address) => ({ address, operation })));
    expect(asked.map(({ address }) => address).sort()).toEqual(['/v2/', '/v2/health/live', '/v2/health/ready', '/v2/models/clothes', '/v2/models/clothes/ready', '/v2/models/clothes/versions/1', '/v2/models/clothes/versions/1/ready']);
    for (const { address, operation } of asked) {
      const { status, body } = await ask(address), schema = schemaOf(operation, 200);
      expect(status, address).toBe(200);
      if (schema) expect(faults(schema, body), address).toBeUndefined();
    }
    expect(asked.filter(({ operation }) => schemaOf(operation, 200)).length).toBe(3);
  });

  test('has our requests and inferences as they are', async () => {
    const [{ path, operation }] = operationsOf('post') as [{ path: string; operation: Operation }];
    for (const [name, request, outputs] of requests()) {
      expect(faults('inference_request', request), name).toBeUndefined();
      for (const address of addressesOf(path)) {
        const { status, type, body } = await ask(address, request);
        expect([status, type], name).toEqual([200, 'application/json; charset=utf-8']);
        expect(faults(schemaOf(operation, 200)!, body), name).toBeUndefined();
        expect(body).toMatchObject({ model_name: 'clothes', model_version: '1', ...('id' in request ? { id: request.id } : {}), outputs: outputs.map((output) => ({ name: output })) });
      }
    }
  });

  test('has our refusals as they are', async () => {
    const [{ path, operation }] = operationsOf('post') as [{ path: string; operation: Operation }];
    const wrong = [{ inputs: 3 }, { inputs: [] }, { inputs: [{ name: 'pixels', datatype: 'FP32', shape: [1, 32, 32, 3], data: [0] }] }, { inputs: [{ name: 'image', datatype: 'BYTES', shape: [1], data: ['*'] }] }, { inputs: [{ name: 'x', datatype: 'FP32', shape: [1], data: [0] }] }];
    for (const address of addressesOf(path)) {
      for (const request of wrong) {
        const { status, type, body } = await ask(address, request);
        expect([status, type], JSON.stringify(request)).toEqual([400, 'application/json']);
        expect(faults(schemaOf(operation, 400)!, body)).toBeUndefined();
        // The document lets an error without its text pass.
        expect((body as { error: string }).error.length).toBeGreaterThan(10);
      }
    }
    for (const address of operationsOf('get').filter(({ path: one }) => one.includes('MODEL_NAME')).flatMap(({ path: one }) => addressesOf(one, 'nothing'))) {
      const { status, body } = await ask(address);
      expect([status, faults('metadata_model_error_response', body)], address).toEqual([404, undefined]);
    }
    const keysFile = join(model.path, 'keys.json');
    await writeFile(keysFile, JSON.stringify({ keys: [createKey('asker', ['classify']).stored] }));
    await using guarded = await startTestServer({ models: [{ path: model.path }], keysFile });
    const { status, body } = await ask('/v2/', undefined, guarded);
    expect([status, faults('metadata_server_error_response', body)]).toEqual([401, undefined]);
  });

  test('can tell a wrong answer from a right one', () => {
    expect(faults('inference_response', { model_name: 'clothes', outputs: [{ name: 'x', shape: ['1'], datatype: 'FP32', data: [] }] })).toBeDefined();
    expect(faults('metadata_server_response', { name: 'chameleon', version: '1' })).toBeDefined();
    expect(faults('metadata_model_error_response', { detail: 'without the word' })).toBeDefined();
  });
});
