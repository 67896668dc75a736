import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const bin = fileURLToPath(new URL('../../bin/chameleon.js', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chameleon-dashboard-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const environment = { ...process.env, NODE_OPTIONS: '' };

/** The address that it says it is at. */
function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout!.setEncoding('utf8').on('data', (part: string) => {
      const found = /at (http:\S+)/.exec((text += part));
      if (found) resolve(found[1]!);
    });
    child.once('exit', () => reject(new Error(`it ended: ${text}`)));
  });
}

describe('chameleon dashboard', () => {
  it('serves its page until it is told to end, and ends with 0', async () => {
    const child = spawn(process.execPath, [bin, 'dashboard', '--port', '0', '--target', '127.0.0.1:1,127.0.0.1:2', '--target', '127.0.0.1:3'], { cwd: folder, env: { ...environment, CHAMELEON_INTERVAL: '1' } });
    const ended = new Promise<number | null>((resolve) => void child.once('exit', resolve));
    try {
      const url = await addressOf(child);
      expect(await (await fetch(url)).text()).toContain('<div id="root">');
      const { targets } = (await (await fetch(`${url}/api/overview`)).json()) as { targets: { instance: string }[] };
      expect(targets.map(({ instance }) => instance)).toEqual(['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']);
      expect(await (await fetch(`${url}/api/session`)).json()).toMatchObject({ source: { kind: 'embedded', intervalMs: 1000 }, hasRuns: true, commands: [] });
    } finally {
      child.kill('SIGTERM');
    }
    expect(await ended).toBe(0);
  });

  it.each([
    [['--target', 'http://'], /no address of metrics/],
    [['--file', 'none.yml'], /none\.yml can't be read \(ENOENT\)/],
    [['--prometheus', 'prometheus'], /no address of a Prometheus/],
    [['--prometheus', 'http://127.0.0.1:9090', '--target', '127.0.0.1:1'], /leave out --prometheus/],
    [['--host', '0.0.0.0'], /--password-file/],
    [['--password-file', 'short.json'], /at least 12 characters/],
    [['--password-file', 'short.json', '--proxy-user-header', 'X-User'], /leave out/],
    [['--interval', '0'], /above 0/],
  ])('%j is a wrong call, and says why', async (args, pattern) => {
    await writeFile(join(folder, 'short.json'), '{"read":"short"}');
    const { code, err } = await new Promise<{ code: unknown; err: string }>((resolve) => execFile(process.execPath, [bin, 'dashboard', '--port', '0', ...args], { cwd: folder, env: environment }, (error, _out, stderr) => resolve({ code: error?.code ?? 0, err: stderr })));
    expect(err).toMatch(pattern);
    expect(err).not.toContain('    at ');
    expect(code).toBe(2);
  });
});
