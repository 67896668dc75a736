import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const CHAMELEON = fileURLToPath(new URL('../../../packages/cli/bin/chameleon.js', import.meta.url));
const BASELINE = fileURLToPath(new URL('./baseline.mjs', import.meta.url)), BARE = fileURLToPath(new URL('./bare-loop.mjs', import.meta.url));
const MAX_QUEUE = 128;

/** Our server as a person starts it; resolves when it says that it is ready. */
export async function startOurs(modelFolder, { precision }) {
  return { ...(await startServer([CHAMELEON, 'serve', modelFolder, '--port', '0', '--dtype', precision, '--max-queue', String(MAX_QUEUE), '--log-level', 'warn'])), maxQueue: MAX_QUEUE };
}

/** ONNX Runtime behind a plain Express route. */
export const startBaseline = (onnx, size) => startServer([BASELINE, onnx, String(size)]);

async function startServer(args) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [line] = await Promise.race([once(createInterface(child.stdout), 'line'), exited.then(([code]) => Promise.reject(new Error(`${args[0]} ended with ${code}`)))]);
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
  };
  return { url: /(http:\S+)$/.exec(line)[1], pid: child.pid, stop };
}

/** Works with a server and stops it, whatever happens. */
export async function withServer(starting, work) {
  const server = await starting;
  try {
    return await work(server);
  } finally {
    await server.stop();
  }
}

/** Decoding and the model in a loop of its own process. @returns pictures a second */
export async function startBare(modelFolder, precision, seconds) {
  const { stdout } = await promisify(execFile)(process.execPath, [BARE, modelFolder, precision, String(seconds)]);
  return JSON.parse(stdout).perSecond;
}

export async function untilReady(url) {
  while ((await fetch(`${url}/readyz`).catch(() => null))?.status !== 200) await new Promise((resolve) => setTimeout(resolve, 5));
}

export const residentMiB = (pid) => Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024);
