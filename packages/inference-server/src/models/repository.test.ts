import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningServer } from '../server.js';
import { dyingEngine } from '../testing/engines.js';
import { temporaryFolder, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { formOf, startTestServer } from '../testing/server.js';

const CLASSES = ['camouflage', 'normal', 'unclear'];
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let server: RunningServer;

beforeAll(async () => {
  folder = await temporaryFolder();
  await Promise.all(['one', 'two', 'other', 'small', 'broken'].map((name) => mkdir(join(folder.path, name))));
  await writeRandomModel(join(folder.path, 'one/model'), { seed: 1 });
  await writeRandomModel(join(folder.path, 'two/model'), { seed: 2 });
  await writeRandomModel(join(folder.path, 'small/model'), { seed: 3, imageSize: 32 });
  await writeRandomModel(join(folder.path, 'other/model'), { seed: 4, classes: ['ant', 'bee'] });
  await writeRandomModel(join(folder.path, 'broken/model'), { seed: 5 });
  await writeFile(join(folder.path, 'broken/model/model.safetensors'), 'damaged');
  await symlink('/etc', join(folder.path, 'link'));
  server = await startTestServer({ models: [{ path: join(folder.path, 'one') }], modelsRoot: folder.path, canaryBounds: { minRequests: 20 } });
});
afterAll(async () => {
  await server.stop();
  await folder[Symbol.asyncDispose]();
});

interface Listing { labels: { stable: string; canary: unknown }; rollback: { version: string; reason: string } | null; versions: { version: string; status: string; reason: string | null; labels: string[] }[] }
const change = async (method: string, path: string, body?: object) => {
  const response = await fetch(`${server.url}/v1/models/clothes${path}`, { method, ...(body ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } } : {}) });
  return { status: response.status, body: (await response.json()) as Listing & { detail: string } };
};
const classify = async (query = '', seed = 1) => {
  const response = await fetch(`${server.url}/v1/classify${query}`, { method: 'POST', body: formOf(await drawPicture(seed)) });
  return { status: response.status, body: (await response.json()) as { model: { version: string }; predictions: { classes: { label: string }[] }[] } };
};

describe('versions', () => {
  test('one is loaded beside the stable one, asked by name, made stable and taken back, without a failed request', async () => {
    const statuses: number[] = [];
    let asking = true;
    const load = (async () => {
      while (asking && statuses.length < 150) statuses.push((await classify()).status);
    })();
    const added = await change('POST', '/versions', { path: 'two' });
    expect([added.status, added.body.labels.stable]).toEqual([201, '1']);
    expect(added.body.versions.map(({ version, status }) => [version, status])).toEqual([['1', 'ready'], ['2', 'ready']]);
    expect((await classify('?version=2')).body.model.version).toBe('2');
    expect((await classify()).body.model.version).toBe('1');
    expect((await change('PUT', '/labels/stable', { version: '2' })).body.labels.stable).toBe('2');
    expect((await classify()).body.model.version).toBe('2');
    expect((await change('PUT', '/labels/stable', { version: '1' })).body.labels.stable).toBe('1');
    expect((await classify()).body.model.version).toBe('1');
    asking = false;
    await load;
    expect(new Set(statuses)).toEqual(new Set([200]));
  });

  test('one that is damaged leaves the others as they are, and says why', async () => {
    const refused = await change('POST', '/versions', { path: 'broken', version: 'bad' });
    expect([refused.status, refused.body.detail]).toEqual([422, expect.stringContaining('its digest differs')]);
    expect((await classify()).status).toBe(200);
    expect((await change('PUT', '/labels/stable', { version: 'bad' })).status).toBe(409);
    expect((await change('DELETE', '/versions/bad')).status).toBe(200);
  });

  test('one with other classes is not of the same model', async () => {
    const refused = await change('POST', '/versions', { path: 'other', version: 'insects' });
    expect([refused.status, refused.body.detail]).toEqual([422, expect.stringContaining('Serve it under another name')]);
    await change('DELETE', '/versions/insects');
  });

  test.each([['../outside', 422], ['/etc', 422], ['link', 422], ['nowhere', 422]])('the path %s stays within the folder of models: %i', async (path, status) => {
    expect((await change('POST', '/versions', { path })).status).toBe(status);
  });

  test('one that a label stands at is not removed; another is, and its requests get 404', async () => {
    await change('POST', '/versions', { path: 'two', version: 'extra' });
    expect((await change('DELETE', '/versions/1')).status).toBe(409);
    expect((await change('DELETE', '/versions/extra')).status).toBe(200);
    expect((await classify('?version=extra')).status).toBe(404);
    expect((await change('DELETE', '/versions/extra')).status).toBe(404);
  });
});

test('a version that is removed answers first what it has begun', async () => {
  await change('POST', '/versions', { path: 'two', version: 'leaving' });
  const picture = await drawPicture(1, { width: 1_200, height: 900 });
  const asked = Array.from({ length: 16 }, async () => (await fetch(`${server.url}/v1/classify?version=leaving`, { method: 'POST', body: formOf(picture) })).status);
  await expect.poll(async () => (await fetch(`${server.url}/metrics`)).text(), { interval: 5 }).toMatch(/chameleon_predict_queue_length\{model="clothes"\} ([4-9]|1\d)/);
  expect((await change('DELETE', '/versions/leaving')).status).toBe(200);
  const statuses = await Promise.all(asked);
  expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(3);
  // Those that came after the removal find no such version.
  expect(new Set(statuses.filter((status) => status !== 200))).toEqual(new Set(statuses.includes(404) ? [404] : []));
  expect((await classify('?version=leaving')).status).toBe(404);
});

describe('a canary', () => {
  test('answers its share, and ends when it is told to', async () => {
    expect((await change('PUT', '/labels/canary', { version: '2', traffic_share: 1 })).body.labels.canary).toEqual({ version: '2', traffic_share: 1, shadow: false });
    expect((await classify()).body.model.version).toBe('2');
    expect((await classify('?version=stable')).body.model.version).toBe('1');
    expect((await classify('?version=canary')).body.model.version).toBe('2');
    expect((await change('PUT', '/labels/canary', { version: null })).body.labels.canary).toBeNull();
    expect((await classify()).body.model.version).toBe('1');
  });

  test.each([[{ version: '9' }, 404], [{ version: '1' }, 409], [{ version: '2', traffic_share: 2 }, 400], [{ version: '2', share: 0.5 }, 400]])('as %j is refused with %i', async (body, status) => {
    expect((await change('PUT', '/labels/canary', body)).status).toBe(status);
  });

  test('as a shadow takes pictures of the same size only', async () => {
    await change('POST', '/versions', { path: 'small', version: 'small' });
    expect((await change('PUT', '/labels/canary', { version: 'small', shadow: true })).status).toBe(409);
    await change('DELETE', '/versions/small');
  });

  test('whose classes depart from the stable version\'s is taken back by itself, also as a shadow that answers nobody', async () => {
    // Two random networks: pictures are chosen on which they disagree.
    const disagreements: number[] = [];
    for (let seed = 1; disagreements.length < 3 && seed < 60; seed++) {
      const [a, b] = [await classify('?version=1', seed), await classify('?version=2', seed)].map(({ body }) => body.predictions[0]!.classes[0]!.label);
      if (a !== b) disagreements.push(seed);
    }
    expect(disagreements.length).toBeGreaterThan(0);
    await change('PUT', '/labels/canary', { version: '2', traffic_share: 1, shadow: true });
    for (let i = 0; i < 30; i++) expect((await classify('', disagreements[i % disagreements.length])).body.model.version).toBe('1');
    await expect.poll(async () => ((await (await fetch(`${server.url}/v1/models`)).json()) as { models: Listing[] }).models[0]!.rollback).toMatchObject({ version: '2', reason: expect.stringMatching(/^it calls .* % of the pictures/) as unknown });
    const { models } = (await (await fetch(`${server.url}/v1/models`)).json()) as { models: Listing[] };
    expect(models[0]!.labels).toEqual({ stable: '1', canary: null });
    expect(await (await fetch(`${server.url}/metrics`)).text()).toContain('chameleon_canary_rollbacks_total{model="clothes"} 1');
  });

  test('whose requests fail is taken back by itself and says so, and the stable version answers again', async () => {
    await using engines = await temporaryFolder();
    const path = (name: string) => join(folder.path, name);
    await using failing = await startTestServer({ models: [{ path: path('one') }, { path: path('two') }], engine: await dyingEngine(engines.path, Infinity, path('two')), canaryBounds: { minRequests: 20 } });
    const ask = async () => (await fetch(`${failing.url}/v1/classify`, { method: 'POST', body: formOf(await drawPicture(1)) })).status;
    const listing = async () => ((await (await fetch(`${failing.url}/v1/models`)).json()) as { models: Listing[] }).models[0]!;
    expect((await fetch(`${failing.url}/v1/models/clothes/labels/canary`, { method: 'PUT', body: JSON.stringify({ version: '2', traffic_share: 1 }), headers: { 'content-type': 'application/json' } })).status).toBe(200);
    // Errors are judged from a fifth of 20 requests on.
    for (let i = 0; i < 4; i++) expect([await ask(), i < 3 ? (await listing()).rollback : null]).toEqual([503, null]);
    expect(await listing()).toMatchObject({ labels: { stable: '1', canary: null }, rollback: { version: '2', reason: expect.stringMatching(/^100\.0 % of its requests failed/) as unknown } });
    for (let i = 0; i < 5; i++) expect(await ask()).toBe(200);
    expect(await (await fetch(`${failing.url}/metrics`)).text()).toContain('chameleon_canary_rollbacks_total{model="clothes"} 1');
    expect((await fetch(`${failing.url}/readyz`)).status).toBe(200);
  });
});

test('several models are told apart by name', async () => {
  await using several = await startTestServer({ models: [{ path: join(folder.path, 'one') }, { path: join(folder.path, 'other'), name: 'insects', version: '2026' }] });
  const ask = async (query: string) => {
    const response = await fetch(`${several.url}/v1/classify${query}`, { method: 'POST', body: formOf(await drawPicture(1)) });
    return { status: response.status, body: (await response.json()) as { model: unknown; predictions: { classes: { label: string }[] }[] } };
  };
  expect((await ask('')).status).toBe(400);
  const insects = await ask('?model=insects');
  expect(insects.body.model).toEqual({ name: 'insects', version: '2026' });
  expect(insects.body.predictions[0]!.classes.map(({ label }) => label).sort()).toEqual(['ant', 'bee']);
  expect((await ask('?model=clothes')).body.predictions[0]!.classes.map(({ label }) => label).sort()).toEqual(CLASSES);
});
