import { connect } from 'node:net';
import { randomStream } from '@chameleon/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunningServer } from '../server.js';
import { temporaryFolder, writeRandomModel } from '../testing/models.js';
import { type PictureFormat, drawPicture, pixelBomb } from '../testing/pictures.js';
import { formOf, startTestServer } from '../testing/server.js';

const BODY_BYTES = 2 ** 20;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let server: RunningServer;

beforeAll(async () => {
  folder = await temporaryFolder();
  await writeRandomModel(folder.path);
  server = await startTestServer({ models: [{ path: folder.path }], limits: { bodyBytes: BODY_BYTES, receiveMs: 1_000, pixels: 4_000_000 } });
});
afterAll(async () => {
  await server.stop();
  await folder[Symbol.asyncDispose]();
});

const send = (body: RequestInit['body'], type?: string, path = '/v1/classify') => fetch(`${server.url}${path}`, { method: 'POST', body: body ?? null, headers: type === undefined ? {} : { 'content-type': type } });
const json = (value: unknown) => send(typeof value === 'string' ? value : JSON.stringify(value), 'application/json');
const infer = (body: RequestInit['body']) => send(body, 'application/json', '/v2/models/clothes/infer');
const picture = async (seed = 1) => new Uint8Array(await drawPicture(seed));

/** The server goes on after whatever came before. */
async function expectGoodAnswer(): Promise<void> {
  expect((await send(await picture(), 'image/jpeg')).status).toBe(200);
}

async function damaged(format: PictureFormat, damage: (bytes: Buffer) => Buffer): Promise<Uint8Array> {
  return new Uint8Array(damage(await drawPicture(1, { format, width: 200, height: 150 })));
}

const SVG = '<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>';
const tensor = (shape: number[], data: unknown, datatype = 'FP32') => JSON.stringify({ inputs: [{ name: 'pixels', shape, datatype, data }] });

describe('bad input gets its status, and the next request its answer', () => {
  test.each<[string, number, () => Promise<Response>]>([
    ...(['jpeg', 'png', 'webp', 'gif'] as const).map((format): [string, number, () => Promise<Response>] => [`a truncated ${format}`, 422, async () => send(await damaged(format, (bytes) => bytes.subarray(0, bytes.length / 2)), `image/${format}`)]),
    ['a PNG with another byte in the middle', 422, async () => send(await damaged('png', (bytes) => (bytes.writeUInt8(bytes[bytes.length >> 1]! ^ 0xff, bytes.length >> 1), bytes)), 'image/png')],
    ['no byte at all', 422, () => send(new Uint8Array(0), 'image/jpeg')],
    ['an empty file in a form', 422, () => send(formOf(new Uint8Array(0)))],
    ['an SVG with an external entity', 415, () => send(SVG, 'image/svg+xml')],
    ['an SVG called a JPEG', 415, () => send(SVG, 'image/jpeg')],
    ['30,000 x 30,000 pixels in some bytes', 413, async () => send(new Uint8Array(await pixelBomb(30_000)), 'image/png')],
    ['more pictures than a request may bring', 413, async () => send(formOf(...Array.from({ length: 200 }, () => new Uint8Array([1]))))],
    ['more pictures in JSON than a request may bring', 413, () => json({ images: Array.from({ length: 200 }, () => ({ b64: 'AAAA' })) })],
    ['a body that says it is too large', 413, () => send(new Uint8Array(BODY_BYTES + 1), 'image/jpeg')],
    ['a form that is too large', 413, () => send(formOf(new Uint8Array(BODY_BYTES)))],
    ['JSON nested 10,000 deep', 400, () => json(`{"images":${'['.repeat(10_000)}${']'.repeat(10_000)}}`)],
    ['JSON of a number', 400, () => json('1')],
    ['base64 of another alphabet', 400, () => json({ images: [{ b64: 'ab_-' }] })],
    ['a form without a boundary', 400, () => send('x', 'multipart/form-data')],
    ['a form that never ends', 400, () => send('--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc', 'multipart/form-data; boundary=x')],
    ['a path out of the folder', 404, () => fetch(`${server.url}/..%2f..%2fetc%2fpasswd`)],
    ['a tensor of another shape', 400, () => infer(tensor([1, 2, 2, 3], [1]))],
    ['a tensor of another type', 400, () => infer(tensor([1, 64, 64, 3], [1], 'INT8'))],
    ['a tensor of an absurd shape', 413, () => infer(tensor([2 ** 40, 64, 64, 3], [1]))],
    ['a tensor with too few values', 400, () => infer(tensor([1, 64, 64, 3], [1, 2, 3]))],
    ['a tensor nested 10,000 deep', 400, () => infer(`{"inputs":[{"name":"pixels","shape":[1,64,64,3],"datatype":"FP32","data":${'['.repeat(10_000)}${']'.repeat(10_000)}}]}`)],
    ['NaN in JSON', 400, () => infer('{"inputs":[{"name":"pixels","shape":[1,64,64,3],"datatype":"FP32","data":[NaN]}]}')],
    ['a number beyond float32', 400, () => infer(tensor([1, 64, 64, 3], Array.from({ length: 64 * 64 * 3 }, () => 1e300)))],
  ])('%s: %i', async (_name, status, ask) => {
    const response = await ask();
    const text = await response.text();
    expect(response.status, text).toBe(status);
    expect(JSON.parse(text)).toMatchObject({ status, request_id: response.headers.get('x-request-id') });
    await expectGoodAnswer();
  });

  test('a truncated AVIF is no server\'s failure', async () => {
    const response = await send(await damaged('avif', (bytes) => bytes.subarray(0, bytes.length / 2)), 'image/avif');
    expect([200, 422]).toContain(response.status);
    await expectGoodAnswer();
  });

  test('a polyglot, a GIF that is also a script, is read as the picture that it is', async () => {
    const gif = await drawPicture(1, { format: 'gif' });
    const response = await send(new Uint8Array(Buffer.concat([gif, Buffer.from('/*<script>alert(1)</script>*/')])), 'image/gif');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });

  test('the picture of a form that is bad is named, without what a terminal would obey', async () => {
    const form = new FormData();
    form.append('image', new Blob([await picture()]), 'good.jpg');
    form.append('image', new Blob(['text']), 'b`rm`ad.jpg');
    const { detail } = (await (await send(form)).json()) as { detail: string };
    expect(detail).toBe('Picture 2 of the form (b?rm?ad.jpg) is not an image we read (found: text).');
  });

  test('a file name with control characters is refused with its form', async () => {
    const form = new FormData();
    form.append('image', new Blob([await picture()]), 'b\u001b[31mad.jpg');
    const response = await send(form);
    expect([response.status, ((await response.json()) as { detail: string }).detail]).toEqual([400, 'The form can not be read (Malformed part header).']);
  });
});

/** Speaks to the server byte by byte; what it says until it ends the connection. */
function speak(lines: (write: (text: string) => void) => void): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(server.port, '127.0.0.1', () => lines((text) => socket.writable && socket.write(text)));
    socket.on('data', (chunk) => (answer += chunk.toString())).on('close', () => resolve(answer)).on('error', () => undefined);
  });
}

const HEAD = 'POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n';

describe('a client that behaves badly', () => {
  test('sends its body drop by drop: 408', async () => {
    const timers: NodeJS.Timeout[] = [];
    const answer = await speak((write) => {
      write(`${HEAD}Content-Length: 1000\r\n\r\n`);
      timers.push(setInterval(() => write('x'), 100));
    });
    timers.forEach(clearInterval);
    expect(answer).toMatch(/^HTTP\/1\.1 408 .*urn:chameleon:problem:too-slow/s);
    await expectGoodAnswer();
  });

  test('sends headers without end: 431', async () => {
    const answer = await speak((write) => write(`${HEAD}${'X-Bomb: 0123456789\r\n'.repeat(2_000)}`));
    expect(answer).toMatch(/^HTTP\/1\.1 431 .*urn:chameleon:problem:header-too-large/s);
    await expectGoodAnswer();
  });

  test('sends a body in chunks beyond the limit: 413 before the body ends', async () => {
    const chunk = 'x'.repeat(65_536);
    const answer = await speak((write) => {
      write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
      for (let i = 0; i < 17; i++) write(`10000\r\n${chunk}\r\n`);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    await expectGoodAnswer();
  });

  test('hangs up while it sends, or while it waits: nothing is left in the queue', async () => {
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const gone = new AbortController();
      const asked = fetch(`${server.url}/v1/classify`, { method: 'POST', body: formOf(await drawPicture(i, { width: 1200, height: 900 })), signal: gone.signal });
      await new Promise((resolve) => setTimeout(resolve, 3 * i));
      gone.abort();
      await asked.catch(() => undefined);
    }));
    await expectGoodAnswer();
    await expect.poll(async () => (await fetch(`${server.url}/metrics`)).text()).toContain('chameleon_predict_queue_length{model="clothes"} 0');
  });
});

test('2,000 mutated pictures and requests: no failure of the server\'s', async () => {
  const originals = await Promise.all((['jpeg', 'png', 'webp', 'gif', 'jpeg'] as const).map((format, i) => drawPicture(i, { format, width: 24, height: 20 })));
  const statuses = new Map<number, number>();
  const lane = async (first: number) => {
    for (let i = first; i < 2_000; i += 4) {
      const random = randomStream('fuzz', i);
      const bytes = mutate(originals[random.integer(originals.length)]!, random);
      const { body, type } = wrap(bytes, random);
      const response = await send(body, type, ['/v1/classify', '/v1/classify', '/v2/models/clothes/infer', '/v1/explain'][random.integer(4)]);
      const text = await response.text();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      expect(response.status, `case ${i}: ${text}`).toBeLessThan(500);
    }
  };
  await Promise.all([0, 1, 2, 3].map(lane));
  expect(statuses.get(200), JSON.stringify([...statuses])).toBeGreaterThan(50);
  expect(statuses.get(422), JSON.stringify([...statuses])).toBeGreaterThan(50);
  await expectGoodAnswer();
}, 120_000);

type Random = ReturnType<typeof randomStream>;

/** Some bytes changed, cut out, doubled or cut off. */
function mutate(original: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(original);
  for (let count = random.integer(4); count > 0; count--) {
    const at = random.integer(bytes.length), length = random.integer(16);
    switch (random.integer(5)) {
      case 0:
        bytes[at] = random.integer(256);
        break;
      case 1:
        bytes[at]! ^= 1 << random.integer(8);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at)]);
        break;
      default:
        bytes = bytes.subarray(0, Math.max(1, at));
    }
    if (bytes.length === 0) bytes = Buffer.from([0]);
  }
  return bytes;
}

/** The bytes as a body in one of the forms that are read, sometimes mutated as a whole. */
function wrap(bytes: Buffer, random: Random): { body: RequestInit['body']; type: string } {
  switch (random.integer(4)) {
    case 0:
      return { body: new Uint8Array(bytes), type: 'image/png' };
    case 1:
      return { body: JSON.stringify({ images: [{ b64: bytes.toString('base64') }] }), type: 'application/json' };
    case 2: {
      const form = Buffer.concat([Buffer.from('--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'), bytes, Buffer.from('\r\n--b--\r\n')]);
      return { body: new Uint8Array(random.integer(3) === 0 ? mutate(form, random) : form), type: 'multipart/form-data; boundary=b' };
    }
    default: {
      const text = Buffer.from(JSON.stringify({ inputs: [{ name: 'image', shape: [1], datatype: 'BYTES', data: [bytes.toString('base64')] }] }));
      return { body: new Uint8Array(random.integer(2) === 0 ? mutate(text, random) : text), type: 'application/json' };
    }
  }
}
