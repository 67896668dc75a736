import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { temporaryFolder, writeRandomModel } from './testing/models.js';
import { drawPicture } from './testing/pictures.js';
import { formOf, startTestServer } from './testing/server.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeEach(async () => {
  folder = await temporaryFolder();
  await writeRandomModel(folder.path);
});
afterEach(() => folder[Symbol.asyncDispose]());

describe('stopping under load', () => {
  test('is not ready first, and fails no request that was sent before clients could know', async () => {
    const server = await startTestServer({ models: [{ path: folder.path }] });
    const picture = await drawPicture(1);
    const statuses: number[] = [];
    let sending = true;
    const client = async () => {
      while (sending && statuses.length < 180) statuses.push((await fetch(`${server.url}/v1/classify`, { method: 'POST', body: formOf(picture) })).status);
    };
    const watcher = async () => {
      while (sending) sending = (await fetch(`${server.url}/readyz`)).status === 200;
    };
    const clients = [...Array.from({ length: 6 }, client), watcher()];
    await expect.poll(() => statuses.length).toBeGreaterThan(20);
    const stopped = server.stop({ noticeMs: 500, deadlineMs: 5_000 });
    await Promise.all(clients);
    await stopped;
    expect(new Set(statuses)).toEqual(new Set([200]));
    await expect(fetch(`${server.url}/livez`)).rejects.toThrow();
  });

  test('tells why it is not ready, and ends connections with their answers', async () => {
    const server = await startTestServer({ models: [{ path: folder.path }] });
    const stopped = server.stop({ noticeMs: 300 });
    const ready = await fetch(`${server.url}/readyz`);
    expect([ready.status, ready.headers.get('connection')]).toEqual([503, 'close']);
    expect(await ready.json()).toMatchObject({ type: 'urn:chameleon:problem:draining' });
    expect((await fetch(`${server.url}/v1/classify`, { method: 'POST', body: formOf(await drawPicture(1)) })).status).toBe(200);
    await stopped;
    expect(server.stop()).toBe(server.stop());
  });

  test('refuses with 503 what is not done at the deadline', async () => {
    const server = await startTestServer({ models: [{ path: folder.path }], maxBatch: 1 });
    const picture = await drawPicture(1, { width: 2_500, height: 2_000 });
    const asked = Array.from({ length: 12 }, () => fetch(`${server.url}/v1/classify`, { method: 'POST', body: formOf(picture) }).then(async (response) => [response.status, await response.text()] as const));
    await expect.poll(async () => (await fetch(`${server.url}/metrics`)).text()).toMatch(/chameleon_predict_queue_length\{model="clothes"\} ([5-9]|1\d)/);
    await server.stop({ deadlineMs: 0 });
    const answers = await Promise.all(asked);
    expect(new Set(answers.map(([status]) => status))).toEqual(new Set(answers.some(([status]) => status === 200) ? [200, 503] : [503]));
    expect(answers.find(([status]) => status === 503)![1]).toContain('urn:chameleon:problem:draining');
  });
});

describe('a full queue', () => {
  test('answers 429 with Retry-After, and the others as ever', async () => {
    await using server = await startTestServer({ models: [{ path: folder.path }], maxQueue: 3 });
    const picture = await drawPicture(1, { width: 600, height: 400 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(`${server.url}/v1/classify`, { method: 'POST', body: formOf(picture) })));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(answers.filter(({ status }) => status === 200).length).toBe(20 - refused.length);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(3);
    expect(Number(refused[0]!.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await refused[0]!.json()).toMatchObject({ type: 'urn:chameleon:problem:queue-full' });
    expect((await fetch(`${server.url}/v1/classify`, { method: 'POST', body: formOf(picture, picture, picture, picture) })).status).toBe(429);
  });

  test('is told before the pictures have come, and the connection goes on', async () => {
    await using server = await startTestServer({ models: [{ path: folder.path }], maxQueue: 2, maxBatch: 1 });
    const slow = await drawPicture(1, { width: 3_000, height: 2_500 });
    const held = Array.from({ length: 2 }, () => fetch(`${server.url}/v1/classify`, { method: 'POST', body: formOf(slow) }).then(({ status }) => status));
    await expect.poll(async () => (await fetch(`${server.url}/metrics`)).text()).toMatch(/chameleon_predict_queue_length\{model="clothes"\} 2/);
    const picture = await drawPicture(2), { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    const head = `POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: ${picture.length}\r\n\r\n`;
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    socket.write(head);
    await expect.poll(() => answer).toMatch(/^HTTP\/1\.1 429 [^]*Retry-After: \d+[^]*queue-full/);
    expect(await Promise.all(held)).toEqual([200, 200]);
    answer = '';
    socket.write(picture);
    socket.write(head);
    socket.write(picture);
    await expect.poll(() => answer).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
  });
});
