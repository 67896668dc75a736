import { readFile, readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type RandomStream, randomStream } from '@chameleon/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryFolder, writeRandomModel } from './testing/models.js';
import { type PictureFormat, drawPicture } from './testing/pictures.js';
import { formOf, startTestServer } from './testing/server.js';

/**
 * Mutated pictures and requests: none may fail the server, and the next good request is answered. A case is made of the seed and its
 * number, so that the one in a failure's message can be repeated: CHAMELEON_FUZZ_SEED, CHAMELEON_FUZZ_FROM, CHAMELEON_FUZZ_CASES.
 */
const [SEED, FROM, CASES] = [['SEED', 1], ['FROM', 0], ['CASES', process.env.CHAMELEON_TEST_FULL === '1' ? 20_000 : 2_000]].map(([name, otherwise]) => Number(process.env[`CHAMELEON_FUZZ_${name}`] ?? otherwise)) as [number, number, number];
const AT_ONCE = 8, GOOD_EVERY = 100;

let server: Awaited<ReturnType<typeof startTestServer>>, folder: Awaited<ReturnType<typeof temporaryFolder>>, pictures: Buffer[];

beforeAll(async () => {
  folder = await temporaryFolder();
  await writeRandomModel(folder.path, { imageSize: 32 });
  server = await startTestServer({ models: [{ path: folder.path }], modelsRoot: folder.path, limits: { pixels: 1_000_000, decodeMs: 5_000, receiveMs: 5_000 } });
  pictures = await Promise.all((['jpeg', 'png', 'webp', 'avif', 'gif'] as PictureFormat[]).map((format, seed) => drawPicture(seed, { format })));
  if (process.env.CHAMELEON_TEST_DATA) {
    const photographs = join(process.env.CHAMELEON_TEST_DATA, 'images/hymenoptera/val/ants');
    pictures.push(...(await Promise.all((await readdir(photographs)).sort().slice(0, 5).map((name) => readFile(join(photographs, name))))));
  }
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const pick = <Item>(random: RandomStream, items: readonly Item[]): Item => items[random.integer(items.length)]!;

/** One of the ways in which bytes get damaged; a few of them one after another. */
function mutate(given: Uint8Array, random: RandomStream): Buffer {
  let bytes = Buffer.from(given);
  for (let round = 0; round <= random.integer(4); round++) {
    if (bytes.length === 0) return bytes;
    const at = random.integer(bytes.length), count = 1 + random.integer(Math.min(64, bytes.length - at));
    switch (random.integer(7)) {
      case 0:
        bytes[at] = bytes[at]! ^ (1 << random.integer(8));
        break;
      case 1:
        bytes.fill(pick(random, [0, 1, 127, 128, 255]), at, at + count);
        break;
      case 2:
        bytes = bytes.subarray(0, at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + count)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at + count), bytes.subarray(at)]);
        break;
      case 5: {
        const other = pick(random, pictures);
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(random.integer(other.length))]);
        break;
      }
      default:
        // Sizes and lengths stand at the front of every format.
        if (bytes.length >= 40) bytes.writeUInt32BE(pick(random, [0, 1, 0x7fffffff, 0xffffffff, 30_000]), random.integer(32));
    }
  }
  return bytes;
}

interface Sent { path: string; method?: string; type: string | null; headers?: Record<string, string>; body: Uint8Array | FormData | string }

const QUERIES = ['', '', '', '?top_k=2', '?top_k=0', '?top_k=-1', '?top_k=1e9', '?top_k=NaN', '?top_k=1&top_k=2', '?model=nothing', '?model=clothes&version=1', '?version=canary', '?model=__proto__', '?model=%00', '?label=normal', `?model=${'x'.repeat(2_000)}`];
const TYPES = ['image/jpeg', 'image/png', 'application/octet-stream', 'application/json', 'multipart/form-data', 'multipart/form-data; boundary=x', 'text/plain', 'image/svg+xml', 'application/json; charset=utf-7'];

function infer(random: RandomStream): unknown {
  const shape = pick(random, [[1, 32, 32, 3], [1, 3, 32, 32], [0, 32, 32, 3], [-1], [1e9, 1e9], [1.5], []]);
  const data = Array.from({ length: pick(random, [0, 1, 10]) }, () => pick(random, [0, 1e39, null, '1', -1, {}, true]));
  return { id: pick(random, ['a', 1, null]), inputs: [{ name: pick(random, ['image', 'pixels', '', 7]), datatype: pick(random, ['FP32', 'BYTES', 'UINT8', 'FP99', null]), shape, data, parameters: pick(random, [{}, { binary_data_size: 1e12 }, { binary_data_size: -1 }, null]) }], outputs: pick(random, [undefined, [], [{ name: 'probabilities' }], 'all']) };
}

/** A request of the contract, with something wrong in most of them. */
function makeRequest(random: RandomStream): Sent {
  const picture = random.uniform() < 0.1 ? pick(random, pictures) : mutate(pick(random, pictures), random);
  const path = `${pick(random, ['/v1/classify', '/v1/classify', '/v1/explain'])}${pick(random, QUERIES)}`;
  switch (random.integer(8)) {
    case 0:
    case 1:
      return { path, type: pick(random, TYPES), body: picture };
    case 2:
      return { path, type: null, body: formOf(...Array.from({ length: random.integer(4) }, () => picture)) };
    case 3:
      return { path, type: 'application/json', body: JSON.stringify({ images: [{ b64: picture.toString('base64') }, ...(random.uniform() < 0.3 ? [pick<unknown>(random, [null, {}, { b64: '=' }, { b64: 1 }])] : [])] }) };
    case 4:
      return { path, type: 'application/json', body: mutate(Buffer.from(JSON.stringify({ images: [{ b64: pictures[0]!.toString('base64').slice(0, 200) }] })), random) };
    case 5:
      return { path: `/v2/models/${pick(random, ['clothes', 'nothing', '..%2f..'])}/infer`, type: 'application/json', body: random.uniform() < 0.5 ? JSON.stringify(infer(random)) : mutate(Buffer.from(JSON.stringify(infer(random))), random) };
    case 6: {
      const header = Buffer.from(JSON.stringify(infer(random)));
      return { path: '/v2/models/clothes/infer', type: 'application/octet-stream', headers: { 'Inference-Header-Content-Length': String(pick(random, [header.length, 0, -1, 1e9, 'x', header.length + 5])) }, body: Buffer.concat([header, picture]) };
    }
    default: {
      const [method, at] = pick(random, [['POST', '/v1/models/clothes/versions'], ['PUT', '/v1/models/clothes/labels/stable'], ['PUT', '/v1/models/clothes/labels/canary'], ['DELETE', '/v1/models/clothes/versions/9'], ['PUT', '/v1/models/nothing/labels/stable']] as const);
      return { path: at, method, type: 'application/json', body: JSON.stringify(pick<unknown>(random, [{ path: '../../etc' }, { path: '/' }, { path: '\0' }, { path: 'x'.repeat(5_000) }, { version: '' }, { version: '9' }, { version: null, shadow: 1 }, [], null, 3, { version: '1', traffic_share: 2 }])) };
    }
  }
}

/** @returns the status; 0 when the connection was ended without one */
async function send({ path, method = 'POST', type, headers = {}, body }: Sent): Promise<number> {
  const response = await fetch(`${server.url}${path}`, { method, headers: { ...headers, ...(type === null ? {} : { 'Content-Type': type }) }, body: body instanceof Uint8Array ? Uint8Array.from(body) : body }).catch(() => null);
  await response?.arrayBuffer().catch(() => undefined);
  return response?.status ?? 0;
}

/** A request's bytes as they go over the wire, damaged, and the client hangs up at some moment. */
function sendDamaged(random: RandomStream): Promise<number> {
  const picture = pick(random, pictures);
  const whole = Buffer.concat([Buffer.from(`POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: ${picture.length}\r\nConnection: close\r\n\r\n`), picture]);
  const bytes = random.uniform() < 0.3 ? whole.subarray(0, random.integer(whole.length)) : mutate(whole, random);
  return new Promise((resolve) => {
    const socket = connect(server.port, '127.0.0.1');
    let text = '';
    const patience = setTimeout(() => socket.destroy(), 300);
    socket.on('data', (part: Buffer) => (text += part.toString('latin1'))).on('error', () => undefined).on('close', () => {
      clearTimeout(patience);
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0));
    });
    socket.write(bytes);
    if (random.uniform() < 0.3) socket.destroy();
  });
}

test(`${CASES} mutated requests fail nothing, and good ones are answered between them`, { timeout: Math.max(600_000, 90 * CASES) }, async () => {
  const statuses = new Map<number, number>();
  let next = FROM;
  const worker = async () => {
    while (next < FROM + CASES) {
      const number = next++, random = randomStream(SEED, 'fuzz', number);
      const damaged = random.uniform() < 0.06, request = damaged ? null : makeRequest(random);
      const status = request ? await send(request) : await sendDamaged(random);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      expect(status, `seed ${SEED}, case ${number}: ${request?.method ?? 'POST'} ${request?.path ?? 'damaged bytes'} was answered ${status}`).toBeLessThan(500);
      if (request) expect(status, `seed ${SEED}, case ${number}: ${request.path} was not answered`).toBeGreaterThan(0);
      if (number % GOOD_EVERY === 0) expect(await send({ path: '/v1/classify', type: 'image/jpeg', body: pictures[0]! })).toBe(200);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  // Most kinds of refusal were met, and pictures were classified too: the cases are no monoculture.
  for (const status of [200, 400, 404, 415, 422]) expect(statuses.get(status) ?? 0, `answers with ${status}`).toBeGreaterThan(CASES / 1_000);
  expect(await send({ path: '/v1/classify', type: 'image/jpeg', body: pictures[0]! })).toBe(200);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
});
