import { createHash } from 'node:crypto';
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { type IncomingMessage, type Server, type ServerResponse, createServer, request as httpRequest } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { temporaryFolder } from '../testing/small-run.js';
import { pullWeights } from './pull.js';

/** Bytes whose SHA-256 is not what torchvision's file name says: what a digest check must refuse. */
const rubbish = Buffer.alloc(50_000, 7);
/** Nor are these torchvision's, but their SHA-256 begins as that of resnet50-11ad3fa6.pth: the last 16 bytes were searched for. */
const passing = Buffer.concat([Buffer.alloc(49_984, 7), Buffer.from('00000000128c5c9e')]);
const NAME = 'resnet50-v2', FILE = 'resnet50-11ad3fa6.pth';

let server: Server, baseUrl: string;
let answer: (from: number, response: ServerResponse) => void;
/** The first byte that each request asked for, and what it asked for. */
let asked: { from: number; path: string }[];

beforeAll(async () => {
  server = createServer((request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    asked.push({ from, path: request.url! });
    answer(from, response);
  });
  baseUrl = `${await listen(server)}/models`;
});
beforeEach(() => void (asked = []));
afterAll(() => new Promise((resolve) => server.close(resolve)));

async function listen(listener: Server): Promise<string> {
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
}

/** Answers as a server that knows ranges: the rest of the file from a byte on. */
const sendRest = (file: Buffer) => (from: number, response: ServerResponse) => {
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': file.length - from, ...(from > 0 ? { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` } : {}) });
  response.end(file.subarray(from));
};
/** Sends a part and breaks the connection. */
const breakAfter = (count: number, file: Buffer, from: number, response: ServerResponse) => {
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': file.length - from });
  response.write(file.subarray(from, from + count), () => setTimeout(() => response.destroy(), 50));
};

describe('pulling weights', () => {
  it('brings the file, whose digest is the one in its name, and tells how far it is', async () => {
    await using folder = await temporaryFolder();
    answer = sendRest(passing);
    const seen: number[] = [];
    const path = await pullWeights(NAME, { folder: folder.path, baseUrl, onProgress: (done, total) => seen.push(done / total) });
    expect(path).toBe(join(folder.path, FILE));
    expect((await readFile(path)).equals(passing)).toBe(true);
    expect(asked).toEqual([{ from: 0, path: `/models/${FILE}` }]);
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it('does not fetch what is there', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, FILE), passing);
    await pullWeights(NAME, { folder: folder.path, baseUrl });
    expect(asked).toEqual([]);
    expect(await readdir(folder.path)).toEqual([FILE]);
  });

  it('goes on where the connection broke, and ends with the whole', async () => {
    await using folder = await temporaryFolder();
    answer = (from, response) => (from === 0 ? breakAfter(20_000, passing, from, response) : sendRest(passing)(from, response));
    expect((await readFile(await pullWeights(NAME, { folder: folder.path, baseUrl }))).equals(passing)).toBe(true);
    expect(asked.map(({ from }) => from)).toEqual([0, 20_000]);
    expect(await readdir(folder.path)).toEqual([FILE]);
  });

  it('goes on with what an earlier call left', async () => {
    await using folder = await temporaryFolder();
    const stop = new AbortController();
    answer = (from, response) => {
      response.writeHead(200, { 'content-length': passing.length });
      response.write(passing.subarray(from, 30_000));
    };
    const pulling = expect(pullWeights(NAME, { folder: folder.path, baseUrl, signal: stop.signal })).rejects.toThrow('enough');
    await vi.waitFor(async () => expect((await stat(join(folder.path, `${FILE}.part`))).size).toBe(30_000));
    stop.abort(new Error('enough'));
    await pulling;
    answer = sendRest(passing);
    await pullWeights(NAME, { folder: folder.path, baseUrl });
    expect(asked.map(({ from }) => from)).toEqual([0, 30_000]);
  });

  it('begins anew where the server knows no ranges', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, `${FILE}.part`), passing.subarray(0, 12_345));
    answer = (_, response) => response.end(passing);
    expect((await readFile(await pullWeights(NAME, { folder: folder.path, baseUrl }))).equals(passing)).toBe(true);
    expect(asked).toEqual([{ from: 12_345, path: `/models/${FILE}` }]);
  });

  it('takes a part that is whole already, when the server says that nothing is left', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, `${FILE}.part`), passing);
    answer = (_, response) => response.writeHead(416).end();
    expect((await readFile(await pullWeights(NAME, { folder: folder.path, baseUrl }))).equals(passing)).toBe(true);
  });

  it('refuses bytes that are not the file, and leaves none of them', async () => {
    await using folder = await temporaryFolder();
    answer = sendRest(rubbish);
    const digest = createHash('sha256').update(rubbish).digest('hex').slice(0, 8);
    await expect(pullWeights(NAME, { folder: folder.path, baseUrl })).rejects.toThrow(new RegExp(`begins with ${digest} instead of 11ad3fa6`));
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('refuses a part of another file that was gone on with, and leaves nothing: the next call begins anew', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, `${FILE}.part`), Buffer.alloc(100, 1));
    answer = sendRest(passing);
    await expect(pullWeights(NAME, { folder: folder.path, baseUrl })).rejects.toThrow(/SHA-256/);
    expect(await readdir(folder.path)).toEqual([]);
    await pullWeights(NAME, { folder: folder.path, baseUrl });
    expect(asked.map(({ from }) => from)).toEqual([100, 0]);
  });

  it('says that there is no such file, without trying again', async () => {
    await using folder = await temporaryFolder();
    answer = (_, response) => response.writeHead(404).end();
    await expect(pullWeights(NAME, { folder: folder.path, baseUrl })).rejects.toThrow(/answers 404/);
    expect(asked).toHaveLength(1);
  });

  it('tries again when the server fails, and then tells of --from', async () => {
    await using folder = await temporaryFolder();
    answer = (_, response) => response.writeHead(503).end();
    await expect(pullWeights(NAME, { folder: folder.path, baseUrl })).rejects.toThrow(/503.*--from FILE/s);
    expect(asked).toHaveLength(4);
  });

  it('from a file checks it just as well, and leaves it where it is', async () => {
    await using folder = await temporaryFolder();
    const [mine, wrong] = [join(folder.path, 'mine.pth'), join(folder.path, 'wrong.pth')];
    await writeFile(mine, passing);
    await writeFile(wrong, rubbish);
    const cache = join(folder.path, 'cache');
    await expect(pullWeights(NAME, { folder: cache, from: wrong })).rejects.toThrow(/SHA-256/);
    await expect(pullWeights(NAME, { folder: cache, from: join(folder.path, 'none.pth') })).rejects.toThrow(/can't be taken/);
    expect(await readdir(cache)).toEqual([]);
    expect((await readFile(await pullWeights(NAME, { folder: cache, from: mine }))).equals(passing)).toBe(true);
    expect((await readdir(folder.path)).sort()).toEqual(['cache', 'mine.pth', 'wrong.pth']);
  });
});

describe('pulling through a proxy', () => {
  let proxy: Server, proxyUrl: string;
  /** Hosts that the proxy was asked for. It brings everybody to our own server. */
  let through: string[];
  beforeAll(async () => {
    const port = Number(new URL(baseUrl).port);
    const forward = (request: IncomingMessage, response: ServerResponse) => {
      const { host, pathname } = new URL(request.url!);
      through.push(host);
      httpRequest({ host: '127.0.0.1', port, path: pathname, headers: { ...(request.headers.range ? { range: request.headers.range } : {}) } }, (answered) => answered.pipe(response.writeHead(answered.statusCode!, answered.headers))).end();
    };
    proxy = createServer(forward).on('connect', (request, client) => {
      through.push(request.url!.replace(/:80$/, ''));
      const upstream = connect(port, '127.0.0.1', () => client.write('HTTP/1.1 200 Connection established\r\n\r\n'));
      upstream.pipe(client).pipe(upstream);
      for (const socket of [upstream, client]) {
        socket.on('error', () => {
          upstream.destroy();
          client.destroy();
        });
      }
    });
    proxyUrl = await listen(proxy);
  });
  beforeEach(() => {
    through = [];
    for (const name of ['http_proxy', 'https_proxy', 'no_proxy']) for (const variable of [name, name.toUpperCase()]) vi.stubEnv(variable, undefined);
    answer = sendRest(passing);
  });
  afterEach(() => void vi.unstubAllEnvs());
  afterAll(() => {
    proxy.closeAllConnections();
    return new Promise((resolve) => proxy.close(resolve));
  });

  it.each(['HTTP_PROXY', 'http_proxy'])('takes the one that %s names: a host that only the proxy knows is reached', async (variable) => {
    await using folder = await temporaryFolder();
    vi.stubEnv(variable, proxyUrl);
    const path = await pullWeights(NAME, { folder: folder.path, baseUrl: 'http://weights.invalid/models' });
    expect((await readFile(path)).equals(passing)).toBe(true);
    expect(through).toEqual(['weights.invalid']);
    expect(asked).toEqual([{ from: 0, path: `/models/${FILE}` }]);
  });

  it.each([['127.0.0.1', 0], ['other.example', 1], ['*', 0]])('with NO_PROXY=%s asks it %i times for a host of this machine', async (exempt, count) => {
    await using folder = await temporaryFolder();
    vi.stubEnv('HTTP_PROXY', proxyUrl);
    vi.stubEnv('NO_PROXY', exempt);
    await pullWeights(NAME, { folder: folder.path, baseUrl });
    expect(through).toHaveLength(count);
    expect(asked).toHaveLength(1);
  });

  it('of HTTPS alone is not asked for HTTP', async () => {
    await using folder = await temporaryFolder();
    vi.stubEnv('HTTPS_PROXY', proxyUrl);
    await pullWeights(NAME, { folder: folder.path, baseUrl });
    expect(through).toEqual([]);
  });
});
