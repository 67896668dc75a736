import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { drawDataset } from '@chameleon/data';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Ended, chameleonHere } from '../testing/chameleon.js';
import { type Served, startServe, writeRandomModel } from '../testing/served-model.js';

/** The built command as a process of its own, with a model of random weights. */

let folder: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chameleon-serve-'));
  await writeRandomModel(join(folder, 'clothes'));
  await drawDataset(join(folder, 'photos'), { count: 2, size: 64 });
  await copyFile(join(folder, 'photos/normal_clothes/0000.jpg'), join(folder, 'picture.jpg'));
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

async function serve(args: string[], environment: Record<string, string> = {}): Promise<Served> {
  const served = await startServe(folder, args, environment);
  children.push(served.child);
  return served;
}

async function ask(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/v1/classify`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg', ...headers }, body: await readFile(join(folder, 'picture.jpg')) });
}

/** A call that ends by itself, in this process. */
const run = (...args: string[]): Promise<Ended> => chameleonHere(folder, args);

describe('chameleon serve', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('answers, and on %s ends with 0 after what it has begun', async (signal) => {
    const { child, url, exited } = await serve(['./clothes', '--port', '0', '--log-level', 'warn', '--decode-threads', '1']);
    expect(await (await ask(url)).json()).toMatchObject({ model: { name: 'clothes', version: '1' }, predictions: [{ classes: [{}, {}] }] });
    const asked = Array.from({ length: 12 }, () => ask(url).then(({ status }) => status));
    await expect.poll(async () => (await fetch(`${url}/metrics`)).text()).toMatch(/chameleon_predict_batch_size_count\{model="clothes"\} (?:[2-9]|\d\d)/);
    child.kill(signal);
    expect(new Set(await Promise.all(asked))).toEqual(new Set([200]));
    expect(await exited).toBe(0);
  });

  it('takes its settings from the environment, and flags before them; logs to standard error', async () => {
    const { child, url, exited, err } = await serve(['a:one=./clothes', 'a:two=./clothes', '--port', '0'], { CHAMELEON_PORT: '1', CHAMELEON_CORS_ORIGIN: 'https://app.example.org', CHAMELEON_MAX_PICTURES: '1' });
    const models = (await (await fetch(`${url}/v1/models`)).json()) as { models: { name: string; versions: { version: string }[] }[] };
    expect(models.models.map(({ name, versions }) => [name, ...versions.map(({ version }) => version)])).toEqual([['a', 'one', 'two']]);
    expect((await ask(url, { Origin: 'https://app.example.org' })).headers.get('access-control-allow-origin')).toBe('https://app.example.org');
    expect((await fetch(`${url}/v1/classify`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ images: [{ b64: 'AAAA' }, { b64: 'AAAA' }] }) })).status).toBe(413);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    expect(err()).toContain('"url":"/v1/classify"');
  });

  it('asks for the keys that `keys add` makes, and forgets those that `keys remove` takes', async () => {
    const key = (await run('keys', 'add', 'phone')).out.trim();
    await run('keys', 'add', 'cluster', '--rights', 'classify,operate');
    expect(JSON.parse((await run('keys', 'list', '--json')).out)).toEqual([{ name: 'phone', rights: ['classify'] }, { name: 'cluster', rights: ['classify', 'operate'] }]);
    expect((await stat(join(folder, 'keys.json'))).mode & 0o077).toBe(0);
    expect(await readFile(join(folder, 'keys.json'), 'utf8')).not.toContain(key);
    const { child, url, exited } = await serve(['./clothes', '--port', '0', '--host', '0.0.0.0', '--keys', 'keys.json', '--log-level', 'warn']);
    const local = url.replace('0.0.0.0', '127.0.0.1');
    expect([(await ask(local)).status, (await ask(local, { Authorization: `Bearer ${key}` })).status]).toEqual([401, 200]);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    await run('keys', 'remove', 'phone');
    expect(await run('keys', 'remove', 'cluster')).toMatchObject({ code: 1, err: expect.stringContaining('the last key') as unknown });
    expect(await run('keys', 'add', 'cluster')).toMatchObject({ code: 1, err: expect.stringContaining('already') as unknown });
    expect(await run('keys', 'add', 'x', '--rights', 'everything')).toMatchObject({ code: 2 });
  });

  it.each([
    [['./clothes', '--host', '0.0.0.0'], 2, /loopback address only/],
    [['./clothes', '--cors-origin', 'app.example.org'], 2, /no origin/],
    [['./clothes', '--tls-cert', 'cert.pem'], 2, /both --tls-cert and --tls-key/],
    [['./clothes', '--max-batch', '0'], 2, /at least 1/],
    [['./nowhere', '--port', '0'], 1, /no trained model/],
    [[], 1, /no runs in runs/],
  ])('%j fails with exit code %i and says why', async (args, code, pattern) => {
    const failed = await run('serve', ...args, '--log-level', 'silent');
    expect(failed.err).toMatch(pattern);
    expect(failed.code).toBe(code);
  });

  it('is not opened to everybody by a variable that says false', async () => {
    vi.stubEnv('CHAMELEON_INSECURE', 'false');
    expect(await run('serve', './clothes', '--host', '0.0.0.0', '--port', '0', '--log-level', 'silent')).toMatchObject({ code: 2 });
    vi.unstubAllEnvs();
  });

  it('computes by WebAssembly where that is asked for, with the same answer', async () => {
    const answers = await Promise.all((['libtorch', 'wasm'] as const).map(async (backend) => {
      const { child, url, exited } = await serve(['./clothes', '--port', '0', '--log-level', 'warn', '--backend', backend]);
      const { predictions } = (await (await ask(url)).json()) as { predictions: { classes: { label: string; probability: number }[] }[] };
      child.kill('SIGTERM');
      expect(await exited).toBe(0);
      return predictions[0]!.classes;
    }));
    expect(answers[1]!.map(({ label }) => label)).toEqual(answers[0]!.map(({ label }) => label));
    answers[0]!.forEach(({ probability }, i) => expect(answers[1]![i]!.probability).toBeCloseTo(probability, 4));
  });

  it('says that the port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    expect(await run('serve', './clothes', '--port', String(port))).toMatchObject({ code: 1, err: expect.stringContaining('another program listens there') as unknown });
    other.close();
  });
});
