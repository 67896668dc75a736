import { fork } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

/** Has ranks of one machine sum as those of several do. */
export const CONNECTIONS_ALONE = { CHAMELEON_PEER_MEMORY: 'off' };

/**
 * A process of this folder's that does what it is asked, one call at a time. With a core, it and its threads stay on it. With a network namespace it
 * stays in that, and plays a machine of its own: it reads no other's memory.
 */
export async function startProcess(file, { core, namespace, args = [], env = namespace === undefined ? {} : CONNECTIONS_ALONE } = {}) {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const through = [...(namespace === undefined ? [] : ['/usr/sbin/ip', 'netns', 'exec', namespace]), ...(core === undefined ? [] : ['taskset', '-c', String(core)]), process.execPath];
  const child = fork(path, args, { env: { ...process.env, ...env }, execPath: through[0], execArgv: through.slice(1), stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = new Promise((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`${file} ended with ${code ?? signal}`)));
  });
  ended.catch(() => undefined);
  const answer = () => new Promise((resolve, reject) => child.once('message', ({ value, error }) => (error === undefined ? resolve(value) : reject(new Error(error)))));
  await Promise.race([answer(), ended]);
  return {
    call(name, options = {}) {
      const answered = Promise.race([answer(), ended]);
      child.send({ name, options });
      return answered;
    },
    stop: () => child.kill('SIGKILL'),
  };
}

/** Serves the calls of a process's parent. */
export function serveCalls(calls) {
  process.on('message', async ({ name, options }) => {
    try {
      process.send({ value: await calls[name](options) });
    } catch (error) {
      process.send({ error: error.stack });
    }
  });
  process.on('disconnect', () => process.exit());
  process.send({ value: 'ready' });
}

export const freePort = () => new Promise((resolve, reject) => {
  const server = createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});
