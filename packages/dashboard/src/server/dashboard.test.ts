import { mkdir, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { curveSchema, liveSettingsSchema, mistakesSchema, overviewSchema, queryAnswerSchema, runDetailSchema, runListSchema, sessionSchema } from '../contract.js';
import { serveMetrics } from '../testing/http.js';
import { freePort, temporaryFolder } from '../testing/prometheus.js';
import { writeRun } from '../testing/runs.js';
import { readPasswords } from './access.js';
import type { RunControl } from './run-routes.js';
import { type DashboardOptions, type RunningDashboard, startDashboard } from './start.js';
import { soon } from '../testing/soon.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
  const run = await writeRun(folder.path, 'first', { classes: ['<b>cat</b>', 'dog'] });
  await mkdir(join(folder.path, 'data'));
  await writeFile(join(folder.path, 'data', 'a.png'), Buffer.from([0x89, 0x50, 0x4e, 0x47, 1]));
  await writeFile(join(run, 'validation.jsonl'), `${JSON.stringify({ path: 'a.png', label: 0, probabilities: [0.1, 0.9] })}\n${JSON.stringify({ path: '../../etc/passwd', label: 1, probabilities: [0.8, 0.2] })}\n`);
});
afterAll(() => folder[Symbol.asyncDispose]());

const start = (options: Partial<DashboardOptions> = {}) => startDashboard({ port: 0, runsFolder: folder.path, intervalMs: 100, ...options });

/** Asks under a name and with headers that `fetch` would not send. */
function ask(url: string, { method = 'GET', headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: string } = {}): Promise<{ status: number; headers: Record<string, string | string[] | undefined>; text: string }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }));
    });
    request.once('error', reject).end(body);
  });
}
const json = async (dashboard: RunningDashboard, path: string): Promise<unknown> => JSON.parse((await ask(`${dashboard.url}/api/${path}`)).text);

describe('a dashboard', () => {
  it('serves its page without inline scripts allowed, and nothing beside it', async () => {
    await using dashboard = await start();
    const page = await ask(`${dashboard.url}/`);
    expect(page.status).toBe(200);
    expect(page.headers['content-security-policy']).toBe("default-src 'none';script-src 'self';style-src 'self';img-src 'self' data: blob:;connect-src 'self';base-uri 'none';form-action 'none';frame-ancestors 'none'");
    expect(page.text).not.toMatch(/<script(?![^>]*src=)|<style|style=/);
    const script = /src="(\/assets\/[^"]+\.js)"/.exec(page.text)![1]!;
    expect((await ask(`${dashboard.url}${script}`)).headers['cache-control']).toContain('immutable');
    for (const path of ['/../package.json', '/%2e%2e/package.json', '/assets/../../lib.tsbuildinfo', '/nothing', '/api/nothing']) expect((await ask(`${dashboard.url}${path}`)).status, path).toBe(404);
    expect((await ask(`${dashboard.url}/metrics`)).text).toContain('process_cpu_seconds_total');
  });

  it('answers the queries that the page needs, and no others', async () => {
    let samples = 0;
    await using target = await serveMetrics(() => `chameleon_train_loss{run="first",split="train"} 0.5\nchameleon_train_samples_total{run="first",worker="w"} ${(samples += 10)}\n`);
    await using dashboard = await start({ targets: [target.url] });
    const query = (name: string, more = '') => json(dashboard, `query?name=${name}&startMs=${Date.now() - 2_000}&endMs=${Date.now()}&stepMs=100${more}`);
    await soon(async () => queryAnswerSchema.parse(await query('loss', '&run=first')).lines.map(({ labels, values }) => [labels, values.at(-1)])).toEqual([[{ split: 'train' }, 0.5]]);
    await soon(async () => queryAnswerSchema.parse(await query('images-per-second', '&run=first')).lines.map(({ labels, values }) => [labels['worker'], (values.at(-1) ?? 0) > 0])).toEqual([['all', true], ['w', true]]);
    expect(queryAnswerSchema.parse(await query('loss', '&run=second')).lines).toEqual([]);
    expect(overviewSchema.parse(await json(dashboard, 'overview')).targets).toMatchObject([{ health: 'up', error: '' }]);
    for (const bad of ['query?name=up&startMs=0&endMs=1&stepMs=100', 'query?name=loss&startMs=5&endMs=1&stepMs=100', 'query?name=loss&startMs=0&endMs=1e12&stepMs=100', 'query?name=loss&startMs=zero&endMs=1&stepMs=100', 'query']) expect(await json(dashboard, bad), bad).toMatchObject({ status: 400 });
  });

  it('reads run directories', async () => {
    await using dashboard = await start();
    expect(sessionSchema.parse(await json(dashboard, 'session'))).toMatchObject({ rights: ['read', 'operate'], hasRuns: true, commands: [] });
    expect(runListSchema.parse(await json(dashboard, 'runs')).runs.map(({ id }) => id)).toEqual(['first']);
    expect(runDetailSchema.parse(await json(dashboard, 'runs/first'))).toMatchObject({ classes: ['<b>cat</b>', 'dog'], config: { 'recipe.name': 'discriminative' } });
    expect(curveSchema.parse(await json(dashboard, 'runs/first/curve?from=1&to=20&points=10'))).toMatchObject({ stepsPerPoint: 2, low: { 0: 0.5 }, high: { 0: 1 } });
    const mistakes = mistakesSchema.parse(await json(dashboard, 'runs/first/mistakes'));
    expect(mistakes.mistakes.map(({ index, hasPicture }) => [index, hasPicture])).toEqual([[0, true], [1, false]]);
    const picture = await ask(`${dashboard.url}/api/runs/first/pictures/0`);
    expect([picture.status, picture.headers['content-type'], picture.headers['x-content-type-options']]).toEqual([200, 'image/png', 'nosniff']);
    for (const path of ['runs/none', 'runs/..%2Ffirst', 'runs/first/pictures/1', 'runs/first/pictures/9', 'runs/first/heat-maps/0']) expect((await ask(`${dashboard.url}/api/${path}`)).status, path).toBe(404);
  });

  it('says over events when there is something new, and what a run has reached', async () => {
    await using target = await serveMetrics(() => 'a 1\n');
    await using dashboard = await start({ targets: [target.url] });
    const controller = new AbortController();
    const answer = await fetch(`${dashboard.url}/api/live?run=first`, { signal: controller.signal });
    let text = '';
    const reading = (async () => {
      for await (const part of answer.body!) text += Buffer.from(part as Uint8Array).toString();
    })().catch(() => undefined);
    await soon(() => text.match(/event: tick/g)?.length ?? 0).toBeGreaterThan(2);
    await soon(() => text).toContain('event: steps\ndata: {"run":"first","step":40,"loss":0.025}');
    controller.abort();
    await reading;
  });

  it('shows a Prometheus that is down as such, and the rest goes on', async () => {
    await using dashboard = await start({ prometheus: `http://127.0.0.1:${await freePort()}` });
    expect(await json(dashboard, 'overview')).toMatchObject({ status: 502, detail: expect.stringContaining("can't be reached (ECONNREFUSED)") as string });
    expect(runListSchema.parse(await json(dashboard, 'runs')).total).toBe(1);
  });

  it('does not start where anybody could read it, on a taken port, or with two sources', async () => {
    await expect(start({ host: '0.0.0.0' })).rejects.toThrow(/--password-file/);
    await using dashboard = await start();
    await expect(start({ port: dashboard.port })).rejects.toThrow(/listens there already/);
    await expect(start({ prometheus: 'http://127.0.0.1:9090', targets: ['127.0.0.1:1'] })).rejects.toThrow(/leave out --prometheus/);
  });
});

/** A coordinator as the dashboard sees it: says what it was told, and refuses a group that it doesn't have. */
const control: RunControl = {
  commands: ['stop', 'checkpoint', 'unfreeze', 'set-rate'],
  command: (run, command) => (command.name === 'set-rate' && command.group !== 'head' ? Promise.reject(new Error(`The run has no group called ${command.group}.`)) : Promise.resolve(`${run}: ${JSON.stringify(command)}`)),
  settings: () => Promise.resolve({ groups: [{ name: 'head', learningRate: 0.001 }], unfrozen: false, waiting: 0 }),
};

describe('settings of a live run', () => {
  it('are shown, and changed by what the coordinator takes; what it refuses is said with its words', async () => {
    await using dashboard = await start({ control });
    const { csrfToken, commands } = sessionSchema.parse(JSON.parse((await ask(`${dashboard.url}/api/session`)).text));
    expect(commands).toEqual(['stop', 'checkpoint', 'unfreeze', 'set-rate']);
    expect(liveSettingsSchema.parse(JSON.parse((await ask(`${dashboard.url}/api/runs/first/settings`)).text))).toEqual({ groups: [{ name: 'head', learningRate: 0.001 }], unfrozen: false, waiting: 0 });
    const give = (name: string, body?: unknown) => ask(`${dashboard.url}/api/runs/first/commands/${name}`, { method: 'POST', headers: { 'x-csrf-token': csrfToken, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    expect(await give('set-rate', { group: 'head', learningRate: 0.5 })).toMatchObject({ status: 200, text: expect.stringContaining('\\"learningRate\\":0.5') as string });
    expect((await give('unfreeze')).status).toBe(200);
    expect(await give('set-rate', { group: 'haed', learningRate: 0.5 })).toMatchObject({ status: 409, text: expect.stringContaining('no group called haed') as string });
    for (const learningRate of [-1, 0, null, 'fast']) expect(await give('set-rate', { group: 'head', learningRate })).toMatchObject({ status: 400, text: expect.stringMatching(/learningRate: (it has to be above 0|a number is needed)/) as string });
    expect((await give('set-rate', { group: 'x'.repeat(8_000), learningRate: 1 })).status).toBe(400);
    expect((await give('delete')).status).toBe(404);
  });

  it('are not there without a coordinator', async () => {
    await using dashboard = await start();
    expect(await ask(`${dashboard.url}/api/runs/first/settings`)).toMatchObject({ status: 404, text: expect.stringContaining('--coordinator') as string });
  });
});

describe('access', () => {
  it('is refused under a name that is not this machine\'s, without a password', async () => {
    await using dashboard = await start();
    expect((await ask(`${dashboard.url}/api/runs`, { headers: { host: 'evil.example' } })).status).toBe(403);
    expect((await ask(`${dashboard.url}/api/runs`, { headers: { host: 'localhost:1234' } })).status).toBe(200);
  });

  it('by password has two rights, and a cookie that scripts and other sites don\'t get', async () => {
    await using dashboard = await start({ access: { kind: 'password', read: 'reads-and-reads', operate: 'operates-it-all' }, control: { ...control, commands: ['stop'] } });
    const logIn = (password: string, headers: Record<string, string> = {}) => ask(`${dashboard.url}/api/login`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ password }) });
    expect((await ask(`${dashboard.url}/api/session`)).status).toBe(401);
    expect((await ask(`${dashboard.url}/`)).status).toBe(200);
    expect((await logIn('wrong')).status).toBe(403);
    expect((await logIn('reads-and-reads', { origin: 'https://evil.example' })).status).toBe(403);
    const rightsOf = async (password: string) => {
      const header = String((await logIn(password)).headers['set-cookie']);
      expect(header).toMatch(/; HttpOnly; SameSite=Strict; Path=\//);
      const cookie = header.split(';')[0]!;
      return { cookie, session: sessionSchema.parse(JSON.parse((await ask(`${dashboard.url}/api/session`, { headers: { cookie } })).text)) };
    };
    const reader = await rightsOf('reads-and-reads'), operator = await rightsOf('operates-it-all');
    expect([reader.session.rights, reader.session.commands]).toEqual([['read'], []]);
    expect([operator.session.rights, operator.session.commands]).toEqual([['read', 'operate'], ['stop']]);
    const stop = async (headers: Record<string, string>) => (await ask(`${dashboard.url}/api/runs/first/commands/stop`, { method: 'POST', headers })).status;
    expect(await stop({ cookie: reader.cookie, 'x-csrf-token': reader.session.csrfToken })).toBe(403);
    expect(await stop({ cookie: operator.cookie })).toBe(403);
    expect(await stop({ cookie: operator.cookie, 'x-csrf-token': reader.session.csrfToken })).toBe(403);
    expect(await stop({ cookie: operator.cookie, 'x-csrf-token': operator.session.csrfToken, origin: 'https://evil.example' })).toBe(403);
    expect(await stop({ cookie: operator.cookie, 'x-csrf-token': operator.session.csrfToken })).toBe(200);
  });

  it('is slow to those who guess', async () => {
    await using dashboard = await start({ access: { kind: 'password', read: 'reads-and-reads', operate: null } });
    const guess = (password: string) => ask(`${dashboard.url}/api/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ password }) });
    for (let i = 0; i < 20; i++) expect((await guess(`guess ${i}`)).status).toBe(403);
    expect((await guess('reads-and-reads')).status).toBe(429);
  });

  it('by a proxy\'s header believes that proxy alone', async () => {
    const rights = async (trusted: string[], user?: string) => {
      await using dashboard = await start({ access: { kind: 'proxy', header: 'X-Forwarded-User', trusted, operators: ['ann'] } });
      const answer = await ask(`${dashboard.url}/api/session`, { headers: user === undefined ? {} : { 'x-forwarded-user': user } });
      return answer.status === 200 ? sessionSchema.parse(JSON.parse(answer.text)).rights : answer.status;
    };
    expect(await rights(['127.0.0.1'], 'ann')).toEqual(['read', 'operate']);
    expect(await rights(['127.0.0.1'], 'bob')).toEqual(['read']);
    expect(await rights(['127.0.0.1'])).toBe(401);
    expect(await rights(['10.0.0.1'], 'ann')).toBe(401);
  });

  it('has its passwords from a file', async () => {
    const file = join(folder.path, 'passwords.json');
    await writeFile(file, '{"read":"reads-and-reads"}');
    expect(await readPasswords(file)).toEqual({ kind: 'password', read: 'reads-and-reads', operate: null });
    await writeFile(file, '{"read":"short"}');
    await expect(readPasswords(file)).rejects.toThrow(/at least 12 characters/);
  });
});
