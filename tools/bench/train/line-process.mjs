import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const TIMEOUT_MS = 240_000;

/**
 * A process that answers each line of JSON on its standard input with one on its standard output, one call at a time.
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<{ call: (name: string, options?: object) => Promise<any>, stop: () => Promise<void> }>} once it says that it is ready
 */
export async function startLineProcess(command, args, { env = process.env } = {}) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
  let said = '';
  child.stderr.on('data', (text) => (said = (said + text).slice(-2000)));
  child.stdin.on('error', () => undefined);
  const ended = new Promise((resolve) => child.once('close', resolve));
  const failed = new Promise((_, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => reject(new Error(`${command} ended with ${code ?? signal}. ${said.trim()}`)));
  });
  failed.catch(() => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`${command} has not answered for ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS)));
    try {
      const { value: line, done } = await Promise.race([lines.next(), failed, late]);
      if (done) return await failed;
      const { value, error } = JSON.parse(line);
      if (error !== undefined) throw new Error(`${command}: ${error}`);
      return value;
    } finally {
      clearTimeout(timer);
    }
  };
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  try {
    await answer();
  } catch (error) {
    if (child.pid !== undefined) await stop();
    throw error;
  }
  return {
    call(name, options = {}) {
      child.stdin.write(`${JSON.stringify({ name, ...options })}\n`);
      return answer();
    },
    stop,
  };
}
