import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

const KEPT_CHARACTERS = 200_000;
const GRACE_MS = 5_000;

/**
 * The log of one run of set-up. It is opened at the first line, so that a run that has nothing to do leaves the last one's.
 * @param {string} path
 * @param {(text: string) => void} [echo] told everything too
 */
export function createLog(path, echo) {
  let file = null;
  return {
    write(text) {
      if (file === null) {
        mkdirSync(dirname(path), { recursive: true });
        file = openSync(path, 'w');
      }
      writeSync(file, text);
      echo?.(text);
    },
    close() {
      if (file !== null) closeSync(file);
      file = null;
    },
  };
}

/**
 * A function that runs tools one by one or side by side, with all that they print in the log. Each is the head of a process group of
 * its own, so that what it has started ends with it.
 * @param {{ cwd: string, env: Record<string, string | undefined>, log: ReturnType<typeof createLog>, signal: AbortSignal }} options
 */
export function createRunner({ cwd, env, log, signal }) {
  /**
   * @param {string[]} command the program and its arguments
   * @param {{ env?: Record<string, string>, timeoutMs: number }} options
   * @returns {Promise<{ code: number | null, output: string }>} the exit code, null where the program couldn't be started, was killed, or
   *   ran past its deadline; and both streams as one text, its last 200,000 characters. Throws the signal's reason when aborted, after
   *   the tool has ended.
   */
  return async function run(command, { env: more = {}, timeoutMs }) {
    signal.throwIfAborted();
    log.write(`\n$ ${command.join(' ')}\n`);
    let output = '';
    const keep = (text) => {
      log.write(text);
      output = (output + text).slice(-KEPT_CHARACTERS);
    };
    const code = await runChild(command, { cwd, env: { ...env, ...more }, timeoutMs, signal, keep });
    signal.throwIfAborted();
    return { code, output };
  };
}

/** @typedef {ReturnType<typeof createRunner>} Run */

function runChild([program, ...args], { cwd, env, timeoutMs, signal, keep }) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: process.platform !== 'win32' });
    const timers = [];
    const stop = () => {
      endGroup(child, 'SIGTERM');
      timers.push(setTimeout(() => endGroup(child, 'SIGKILL'), GRACE_MS));
    };
    timers.push(setTimeout(() => (keep(`No end after ${timeoutMs / 1000} s.\n`), stop()), timeoutMs));
    signal.addEventListener('abort', stop, { once: true });
    const finish = (code) => {
      timers.forEach(clearTimeout);
      signal.removeEventListener('abort', stop);
      resolve(code);
    };
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', keep);
    child.on('error', (error) => (keep(`${program} can't be started: ${error.message}\n`), finish(null)));
    child.on('close', finish);
  });
}

/** Ends a tool and what it has started. One that runs as another user (sudo's) is left to end by itself: `close` still waits for it. */
function endGroup(child, signal) {
  if (child.pid === undefined) return;
  try {
    if (process.platform === 'win32') child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH' && error.code !== 'EPERM') throw error;
  }
}

/** The last lines of a tool's output that say something. */
export function tailOf(output, count = 15) {
  const lines = output.split(/\r?\n/).map((line) => line.trimEnd());
  return lines.filter((line) => line !== '').slice(-count);
}
