import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clients, put } from '../testing/load.js';
import { type Served, type TwoModels, twoModels } from '../testing/served-model.js';

/** `chameleon serve --replicas 2` as processes, with autocannon in front of them. */

let fixture: TwoModels, picture: Buffer;
beforeAll(async () => {
  fixture = await twoModels('--replicas', '2', '--log-level', 'info', '--decode-threads', '2', '--threads', '2');
  ({ picture } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());

const serve = (...args: string[]): Promise<Served> => fixture.serve(...args);

/** The replicas that said they are ready, by the log. */
const pids = (served: Served): number[] => [...served.err().matchAll(/"replicaPid":(\d+),"startMs"/g)].map(([, pid]) => Number(pid));

const classify = (url: string) => fetch(`${url}/v1/classify`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: Uint8Array.from(picture) });
const figure = async (url: string, pattern: RegExp): Promise<number> => Number(pattern.exec(await (await fetch(`${url}/metrics`)).text())?.[1] ?? 0);
const answeredCount = (url: string) => figure(url, /chameleon_predict_phase_seconds_count\{[^}]*phase="compute"[^}]*\} (\d+)/);

describe('two replicas', () => {
  it('answer as one server: a replica that is killed under load is replaced, and no request fails but by a 503', async () => {
    const served = await serve();
    const { url, child, exited } = served;
    const { stop, answered } = clients(url, picture);
    await expect.poll(answered, { timeout: 20_000 }).toBeGreaterThan(40);
    const before = await answeredCount(url);
    expect(before).toBeGreaterThan(20);
    process.kill(pids(served)[0]!, 'SIGKILL');
    await expect.poll(() => figure(url, /chameleon_replicas\{state="lost"\} (\d+)/), { timeout: 20_000 }).toBe(1);
    expect(await answeredCount(url)).toBeGreaterThanOrEqual(before);
    await expect.poll(() => figure(url, /chameleon_replicas\{state="ready"\} (\d+)/), { timeout: 60_000 }).toBe(2);
    const atReplacement = answered();
    await expect.poll(answered, { timeout: 20_000 }).toBeGreaterThan(atReplacement + 40);
    const { errors, timeouts, non2xx, statusCodeStats } = await stop();
    expect({ errors, timeouts }).toEqual({ errors: 0, timeouts: 0 });
    expect(non2xx).toBe((statusCodeStats as Record<string, { count: number }>)['503']?.count ?? 0);
    expect(pids(served)).toHaveLength(3);
    expect(await answeredCount(url)).toBeGreaterThanOrEqual(before);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    for (const pid of pids(served)) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it('take a new version and labels all together, also the one that starts later; SIGTERM under load loses nothing', async () => {
    const served = await serve('--models-root', 'models');
    const { url, child, exited } = served;
    const { stop, answered } = clients(url, picture);
    await put(`${url}/v1/models/clothes/versions`, { path: 'second' });
    await put(`${url}/v1/models/clothes/labels/stable`, { version: '2' });
    const versions = new Set(await Promise.all(Array.from({ length: 12 }, async () => ((await (await classify(url)).json()) as { model: { version: string } }).model.version)));
    expect([...versions]).toEqual(['2']);
    await put(`${url}/v1/models/clothes/labels/stable`, { version: '1' });
    await put(`${url}/v1/models/clothes/labels/stable`, { version: '2' });
    const before = answered();
    await expect.poll(answered, { timeout: 20_000 }).toBeGreaterThan(before + 20);
    const reloaded = await stop();
    expect({ errors: reloaded.errors, timeouts: reloaded.timeouts, non2xx: reloaded.non2xx }).toEqual({ errors: 0, timeouts: 0, non2xx: 0 });

    for (const pid of pids(served)) process.kill(pid, 'SIGKILL');
    await expect.poll(() => figure(url, /chameleon_replicas\{state="lost"\} (\d+)/), { timeout: 20_000 }).toBe(2);
    const gone = await classify(url);
    expect([200, 503]).toContain(gone.status);
    if (gone.status === 503) expect(await gone.json()).toMatchObject({ type: expect.stringMatching(/^urn:chameleon:problem:(compute-failed|loading)$/) as unknown });
    await expect.poll(() => figure(url, /chameleon_replicas\{state="ready"\} (\d+)/), { timeout: 60_000 }).toBe(2);
    expect((await (await classify(url)).json()) as object).toMatchObject({ model: { version: '2' } });

    const asked = Array.from({ length: 16 }, () => classify(url).then(({ status }) => status));
    await expect.poll(() => figure(url, /chameleon_predict_queue_length\{model="clothes"\} (\d+)/)).toBeGreaterThan(0);
    child.kill('SIGTERM');
    expect(new Set(await Promise.all(asked))).toEqual(new Set([200]));
    expect(await exited).toBe(0);
  });

  it('judge a canary each by what it sees: when one takes it back, all do', async () => {
    const served = await serve('--models-root', 'models', '--canary-min-requests', '20');
    const { url, child, exited } = served;
    await put(`${url}/v1/models/clothes/versions`, { path: 'contrary' });
    await put(`${url}/v1/models/clothes/labels/canary`, { version: '2', traffic_share: 0.5 });
    const versions = async () => new Set(await Promise.all(Array.from({ length: 16 }, async () => ((await (await classify(url)).json()) as { model: { version: string } }).model.version)));
    expect([...(await versions())].sort()).toEqual(['1', '2']);
    const { stop } = clients(url, picture);
    await expect.poll(served.err, { timeout: 30_000 }).toMatch(/"model":"clothes","version":"2","reason":"it calls [\d.]+ % of the pictures \w+, the stable version [\d.]+ %"[^\n]*"the canary was taken back"/);
    await expect.poll(async () => [...(await versions())], { timeout: 10_000 }).toEqual(['1']);
    const { errors, timeouts, non2xx } = await stop();
    expect({ errors, timeouts, non2xx }).toEqual({ errors: 0, timeouts: 0, non2xx: 0 });
    const { models } = (await (await fetch(`${url}/v1/models`)).json()) as { models: { labels: object; rollback: object }[] };
    expect(models[0]).toMatchObject({ labels: { stable: '1', canary: null }, rollback: { version: '2', reason: expect.stringMatching(/^it calls (0|100)\.0 % of the pictures \w+, the stable version (0|100)\.0 %$/) as unknown } });
    expect(await figure(url, /chameleon_canary_rollbacks_total\{model="clothes"\} (\d+)/)).toBeGreaterThanOrEqual(1);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
  });

  it('refuse what one process refuses, and say that a model can not be loaded', async () => {
    const { url, child, exited } = await serve('--models-root', 'models');
    expect((await fetch(`${url}/v1/classify`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: 'no picture' })).status).toBe(415);
    expect((await fetch(`${url}/v1/classify?model=shoes`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: Uint8Array.from(picture) })).status).toBe(404);
    expect((await fetch(`${url}/v1/models/clothes/versions`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ path: '../elsewhere' }) })).status).toBe(422);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    await expect(serve('--replicas', '2', '--model', './nowhere')).rejects.toThrow(/ended with 1.*no trained model/s);
  });
});
