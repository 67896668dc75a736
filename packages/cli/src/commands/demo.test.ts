import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const bin = fileURLToPath(new URL('../../bin/chameleon.js', import.meta.url));
let folder: string, child: ChildProcess;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chameleon-demo-'));
});
afterEach(async () => {
  child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

function demo(...args: string[]): { out: () => string; exited: Promise<number | null> } {
  child = spawn(process.execPath, [bin, 'demo', '--folder', 'demo', '--count', '20', '--epochs', '1', ...args], { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' }, stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  child.stdout!.on('data', (text: Buffer) => (out += text.toString()));
  return { out: () => out, exited: once(child, 'exit').then(([code]) => code as number | null) };
}

it('ends in a script once its model has answered over HTTP', async () => {
  const { out, exited } = demo();
  expect(await exited).toBe(0);
  expect(out()).toMatch(/Served {2}http:\/\/127\.0\.0\.1:\d+\n {2}curl -F image=@demo\/unseen\/\S+ \S+\/v1\/classify\n {2}(camouflage|normal)_clothes [\d.]+ %, (camouflage|normal)_clothes [\d.]+ %, in \d+ ms\n/);
});

it('goes on serving where that was asked for, until it is told to stop', async () => {
  const { out, exited } = demo('--keep-serving');
  await expect.poll(out, { timeout: 40_000, interval: 100 }).toContain('to try a picture');
  const url = /Open (\S+) to try a picture/.exec(out())![1]!;
  const picture = await readFile(join(folder, 'demo/unseen/normal_clothes/0001.jpg'));
  expect((await fetch(`${url}/v1/classify`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: picture })).status).toBe(200);
  const dashboard = /(http\S+) to watch run and server/.exec(out())![1]!;
  expect(await (await fetch(`${dashboard}/api/runs`)).text()).toContain('-discriminative-');
  child.kill('SIGTERM');
  expect(await exited).toBe(0);
});
