import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { temporaryFolder, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { formOf, startTestServer } from '../testing/server.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
  await writeRandomModel(folder.path);
});
afterAll(() => folder[Symbol.asyncDispose]());

const preflight = (url: string, path: string, origin: string) => fetch(`${url}${path}`, { method: 'OPTIONS', headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' } });

describe('pages of other origins', () => {
  test('may read nothing unless they are named', async () => {
    await using server = await startTestServer({ models: [{ path: folder.path }] });
    const answer = await fetch(`${server.url}/v1/classify`, { method: 'POST', headers: { Origin: 'https://a.example' }, body: formOf(await drawPicture(1)) });
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, null]);
    expect((await preflight(server.url, '/v1/classify', 'https://a.example')).status).toBe(405);
  });

  test('that are named may ask, but not change what is served', async () => {
    await using server = await startTestServer({ models: [{ path: folder.path }], corsOrigins: ['https://a.example'] });
    const answer = await fetch(`${server.url}/v1/classify`, { method: 'POST', headers: { Origin: 'https://a.example' }, body: formOf(await drawPicture(1)) });
    expect([answer.headers.get('access-control-allow-origin'), answer.headers.get('vary')]).toEqual(['https://a.example', 'Origin']);
    const asked = await preflight(server.url, '/v1/classify', 'https://a.example');
    expect([asked.status, asked.headers.get('access-control-allow-methods')]).toEqual([204, 'GET, POST']);
    expect((await preflight(server.url, '/v1/classify', 'https://b.example')).headers.get('access-control-allow-origin')).toBeNull();
    expect((await preflight(server.url, '/v1/models/clothes/labels/stable', 'https://a.example')).headers.get('access-control-allow-origin')).toBeNull();
  });
});
