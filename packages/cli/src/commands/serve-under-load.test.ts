import { Agent, createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clients, put } from '../testing/load.js';
import { type Served, type TwoModels, twoModels } from '../testing/served-model.js';

/** What a rollout does to clients that never stop asking: real processes, autocannon in front of them. */

/** The long test reloads more often. */
const RELOADS = process.env.CHAMELEON_TEST_FULL === '1' ? 20 : 3;

let fixture: TwoModels, picture: Buffer;
beforeAll(async () => {
  fixture = await twoModels('--log-level', 'error', '--decode-threads', '1', '--threads', '1');
  ({ picture } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());

const serve = (...args: string[]): Promise<Served> => fixture.serve(...args);

/** A load balancer: each request goes to the first server that said "ready" when it was last asked, every 20 ms. */
async function balance(urls: readonly string[]): Promise<{ url: string } & AsyncDisposable> {
  const isReady = urls.map(() => true), agent = new Agent({ keepAlive: false });
  const probe = setInterval(() => urls.forEach((url, i) => void fetch(`${url}/readyz`).then(({ ok }) => (isReady[i] = ok), () => (isReady[i] = false))), 20);
  const server = createServer((incoming, response) => {
    const target = new URL(incoming.url!, urls[isReady.indexOf(true)]);
    const forwarded = httpRequest(target, { method: incoming.method!, headers: incoming.headers, agent }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    forwarded.on('error', () => response.writeHead(502).end());
    incoming.pipe(forwarded);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      clearInterval(probe);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('under load', () => {
  it('a new version is loaded, made stable and taken back without one failed request', async () => {
    const { child, url, exited } = await serve('--models-root', 'models');
    const { stop, answered } = clients(url, picture);
    await put(`${url}/v1/models/clothes/versions`, { path: 'second', version: 'new' });
    for (const version of ['new', '1', 'new']) {
      await put(`${url}/v1/models/clothes/labels/stable`, { version });
      const before = answered();
      await expect.poll(answered, { timeout: 20_000 }).toBeGreaterThan(before + 10);
    }
    const { errors, timeouts, non2xx } = await stop();
    expect({ errors, timeouts, non2xx }).toEqual({ errors: 0, timeouts: 0, non2xx: 0 });
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/chameleon_predictions_total\{model="clothes",version="new",class="\w+"\} \d+/);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
  });

  it(`reloads cost a steady load no request, whatever they cost its slowest answers (${RELOADS} of them)`, { timeout: 120_000 }, async () => {
    const { child, url, exited } = await serve('--models-root', 'models');
    const measured = async (meanwhile: () => Promise<unknown>) => {
      const { stop } = clients(url, picture, { perSecond: 25 });
      await meanwhile();
      const { errors, timeouts, non2xx, latency, requests } = await stop();
      expect({ errors, timeouts, non2xx }).toEqual({ errors: 0, timeouts: 0, non2xx: 0 });
      return { answered: requests.total, p50Ms: latency.p50, p99Ms: latency.p99 };
    };
    const startMs = performance.now();
    const reloading = await measured(async () => {
      for (let i = 1; i <= RELOADS; i++) {
        await put(`${url}/v1/models/clothes/versions`, { path: i % 2 === 1 ? 'second' : 'first', version: `v${i}` });
        await put(`${url}/v1/models/clothes/labels/stable`, { version: `v${i}` });
        if (i > 1) expect((await fetch(`${url}/v1/models/clothes/versions/v${i - 1}`, { method: 'DELETE' })).status).toBe(200);
      }
    });
    const elapsedMs = performance.now() - startMs;
    const steady = await measured(() => sleep(elapsedMs));
    expect(reloading.answered).toBeGreaterThan(20);
    expect(steady.answered).toBeGreaterThan(20);
    console.info(`p99 of ${reloading.answered} answers during ${RELOADS} reloads: ${reloading.p99Ms} ms (p50 ${reloading.p50Ms}); of ${steady.answered} without: ${steady.p99Ms} ms (p50 ${steady.p50Ms})`);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
  });

  it('SIGTERM takes a server out of a rollout without one failed request', async () => {
    const [old, fresh] = await Promise.all([serve('--notice-ms', '500'), serve()]);
    await using balancer = await balance([old.url, fresh.url]);
    const { stop, answered } = clients(balancer.url, picture);
    await expect.poll(answered, { timeout: 20_000 }).toBeGreaterThan(20);
    old.child.kill('SIGTERM');
    expect(await old.exited).toBe(0);
    const before = answered();
    await expect.poll(answered, { timeout: 20_000 }).toBeGreaterThan(before + 20);
    const { errors, timeouts, non2xx } = await stop();
    expect({ errors, timeouts, non2xx }).toEqual({ errors: 0, timeouts: 0, non2xx: 0 });
    fresh.child.kill('SIGTERM');
    expect(await fresh.exited).toBe(0);
  });
});
