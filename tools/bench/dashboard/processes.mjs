import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const CHAMELEON = fileURLToPath(new URL('../../../packages/cli/bin/chameleon.js', import.meta.url));
const TARGETS = fileURLToPath(new URL('./targets.mjs', import.meta.url));
const TICKS_A_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
const PAGE_BYTES = Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' }));

/** A process that says where it is: resolves with what the pattern's first group stands for. */
export async function start(args, pattern, { cwd } = {}) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd });
  const exited = once(child, 'exit');
  let text = '';
  const said = new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part) => {
        text += part;
        const found = pattern.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      });
    }
    exited.then(([code]) => reject(new Error(`${args.join(' ')} ended with ${code}: ${text}`)), reject);
  });
  const stop = async () => {
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    await exited;
  };
  return { said: await said, pid: child.pid, stop };
}

export const startDashboard = (args, cwd) => start([CHAMELEON, 'dashboard', '--port', '0', ...args], / at (http:\S+)/, { cwd });
/** So many simulated workers; `urls` is a list of their metrics. */
export async function startTargets(count) {
  const targets = await start([TARGETS, String(count)], /at (\S+)\n/);
  return { ...targets, urls: Array.from({ length: count }, (_, i) => `${targets.said}/workers/${i}/metrics`) };
}

/** CPU seconds that a process has used, and its resident bytes. */
export function usage(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND, residentBytes: Number(fields[21]) * PAGE_BYTES };
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
