import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SetupError } from './errors.mjs';
import { createLog, createRunner, tailOf } from './run.mjs';
import { temporaryFolder } from './testing.mjs';

function freshRunner() {
  const folder = temporaryFolder();
  const log = createLog(join(folder, '.setup', 'log'));
  const controller = new AbortController();
  return { folder, log: join(folder, '.setup', 'log'), controller, run: createRunner({ cwd: folder, env: process.env, log, signal: controller.signal }) };
}

const node = (script, ...args) => [process.execPath, '-e', script, ...args];

/** Whether a process is there and not only waiting to be collected. */
function isRunning(pid) {
  if (existsSync('/proc/self/stat')) return existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe('a tool', () => {
  it('has both of its streams and its exit code told, and its output in the log', async () => {
    const { run, log } = freshRunner();
    const { code, output } = await run(node('console.log("out"); console.error("err"); process.exitCode = 3'), { timeoutMs: 60_000 });
    expect(code).toBe(3);
    expect(output.split('\n').sort()).toEqual(['', 'err', 'out']);
    expect(readFileSync(log, 'utf8')).toMatch(/^\n\$ .*\n(out\nerr\n|err\nout\n)$/s);
  });

  it('sees the environment that it is given', async () => {
    const { run } = freshRunner();
    expect((await run(node('console.log(process.env.ONNXRUNTIME_NODE_INSTALL)'), { env: { ONNXRUNTIME_NODE_INSTALL: 'skip' }, timeoutMs: 60_000 })).output).toBe('skip\n');
  });

  it("that isn't there has no exit code, and the output says why", async () => {
    const { code, output } = await freshRunner().run(['no-such-program-here'], { timeoutMs: 60_000 });
    expect(code).toBeNull();
    expect(output).toMatch(/no-such-program-here can't be started: .*ENOENT/);
  });

  it('is ended at its deadline', async () => {
    const { code, output } = await freshRunner().run(node('setInterval(() => {}, 1000)'), { timeoutMs: 50 });
    expect(code).toBeNull();
    expect(output).toContain('No end after 0.05 s');
  });

  it('is ended with what it has started when set-up is interrupted, and then the reason is thrown', async () => {
    const { run, controller, folder } = freshRunner();
    const reason = new SetupError('Set-up was interrupted.', 'Run it again.', 130);
    const parent = `const c = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
      require('node:fs').writeFileSync('pids.part', process.pid + ' ' + c.pid); require('node:fs').renameSync('pids.part', 'pids'); setInterval(() => {}, 1000);`;
    const running = run(node(parent), { timeoutMs: 60_000 });
    await expect.poll(() => existsSync(join(folder, 'pids')), { timeout: 30_000 }).toBe(true);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    const pids = readFileSync(join(folder, 'pids'), 'utf8').split(' ').map(Number);
    await expect.poll(() => pids.filter(isRunning)).toEqual([]);
    await expect(run(node(''), { timeoutMs: 60_000 })).rejects.toBe(reason);
  });
});

describe("an output's tail", () => {
  it('is its last lines that say something', () => {
    expect(tailOf('one\r\n\ntwo  \n \nthree\n', 2)).toEqual(['two', 'three']);
    expect(tailOf(Array.from({ length: 40 }, (_, i) => `line ${i}`).join('\n'))).toHaveLength(15);
    expect(tailOf('')).toEqual([]);
  });
});
