import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROUTES } from './http/routes.js';
import { openApiDocument } from './openapi.js';
import type { RunningServer } from './server.js';
import { temporaryFolder, writeRandomModel } from './testing/models.js';
import { startTestServer } from './testing/server.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let server: RunningServer;

beforeAll(async () => {
  folder = await temporaryFolder();
  await writeRandomModel(folder.path);
  server = await startTestServer({ models: [{ path: folder.path }] });
});
afterAll(async () => {
  await server.stop();
  await folder[Symbol.asyncDispose]();
});

interface Document { openapi: string; paths: Record<string, Record<string, { responses: Record<string, unknown>; parameters?: { name: string }[]; requestBody?: { content: object } }>>; components: { schemas: Record<string, unknown> } }
const read = async () => (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;

test('every route is described, and nothing else', () => {
  expect(() => openApiDocument(ROUTES)).not.toThrow();
  expect(() => openApiDocument(ROUTES.slice(1))).toThrow('openapi.ts describes what is not offered: post /v1/classify');
  expect(() => openApiDocument([...ROUTES, { ...ROUTES[0]!, path: '/new' }])).toThrow('post /new is not described');
});

test('the document says of classify what the schemas check', async () => {
  const { openapi, paths, components } = await read();
  const { parameters, requestBody, responses } = paths['/v1/classify']!.post!;
  expect(openapi).toBe('3.1.0');
  expect(parameters!.map(({ name }) => name)).toEqual(['model', 'version', 'top_k']);
  expect(Object.keys(requestBody!.content)).toEqual(['multipart/form-data', 'image/*', 'application/json']);
  expect(Object.keys(responses)).toEqual(['200', '400', '401', '403', '404', '408', '413', '415', '422', '429', '500', '503']);
  expect(Object.keys(components.schemas)).toEqual(expect.arrayContaining(['ClassifyAnswer', 'ExplainAnswer', 'Problem', 'Models']));
});

test('every reference in it leads somewhere', async () => {
  const document = await read();
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name!);
  expect(references.length).toBeGreaterThan(10);
  for (const name of references) expect(document.components.schemas).toHaveProperty(name);
});

test('every call of it is answered by the running server with a status that it names', async () => {
  const { paths } = await read();
  for (const [path, item] of Object.entries(paths)) {
    for (const [method, { responses, requestBody }] of Object.entries(item)) {
      const address = path.replace(/\{(name|model)\}/, 'clothes').replace('{version}', method === 'delete' ? '9' : '1');
      const response = await fetch(`${server.url}${address}`, { method: method.toUpperCase(), ...(requestBody ? { body: '{}', headers: { 'content-type': 'application/json' } } : {}) });
      expect(Object.keys(responses), `${method} ${path}: ${await response.text()}`).toContain(String(response.status));
      if (!requestBody && method === 'get') expect(response.status, path).toBe(200);
    }
  }
});

describe('what a browser opens', () => {
  test.each(['/', '/docs'])('%s loads nothing from elsewhere and runs nothing inline', async (path) => {
    const response = await fetch(`${server.url}${path}`);
    const html = await response.text();
    expect(response.headers.get('content-security-policy')).toMatch(/default-src 'none';script-src 'self';style-src 'self'/);
    expect(html).not.toMatch(/(src|href)="(https?:)?\/\//);
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=/);
    for (const [, address] of html.matchAll(/(?:src|href)="(\/[^"#]*)"/g)) expect((await fetch(`${server.url}${address}`)).status, address).toBe(200);
  });

  test('/docs names every call', async () => {
    const html = await (await fetch(`${server.url}/docs`)).text();
    for (const path of Object.keys((await read()).paths)) expect(html).toContain(`</b> ${path}</h2>`);
  });
});
