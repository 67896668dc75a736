import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const START_MS = 60_000;

/** LitServe, once it answers; it is a group of processes, and is stopped as one. */
export async function startLitServe(python, weights, size, precision) {
  const port = await freePort();
  const child = spawn(python, [fileURLToPath(new URL('./litserve_server.py', import.meta.url)), weights, String(size), String(port), precision], { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  const exited = once(child, 'exit');
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
    await exited;
  };
  const until = performance.now() + START_MS;
  while ((await fetch(`${url}/health`).catch(() => null))?.status !== 200) {
    if (child.exitCode !== null || performance.now() > until) {
      await stop();
      throw new Error(`LitServe did not answer within ${START_MS / 1000} s.`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { url, pid: child.pid, stop };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
