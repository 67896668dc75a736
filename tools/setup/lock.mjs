import { linkSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SetupError } from './errors.mjs';
import { readText } from './files.mjs';

const POLL_MS = 200;

/**
 * Runs `work` while no other set-up of this checkout does. The lock is a file that names its holder: the process's number and, where
 * /proc tells it, the time at which that process began, so that a number that was given anew doesn't pass for a holder who died.
 * It is made under another name and linked to its place, which fails where there is one, and so it is never seen half written.
 * @template T
 * @param {string} path
 * @param {{ signal: AbortSignal, deadlineMs: number, onWait: (pid: string) => void }} options `onWait`: called once, if there is a wait
 * @param {() => Promise<T>} work
 * @returns {Promise<T>} Throws a SetupError when another one holds it to the deadline, and the signal's reason when aborted.
 */
export async function withLock(path, { signal, deadlineMs, onWait }, work) {
  mkdirSync(dirname(path), { recursive: true });
  const me = holderName(process.pid);
  const began = Date.now();
  let told = false;
  while (!takeLock(path, me)) {
    const holder = readText(path);
    if (holder === null || (!isAlive(holder) && removeStale(path, holder))) continue;
    const pid = pidOf(holder);
    if (!told) onWait(pid);
    told = true;
    if (Date.now() - began > deadlineMs) {
      const minutes = Math.round(deadlineMs / 60_000);
      throw new SetupError(`Another set-up (process ${pid}) has been at work here for more than ${minutes} minutes.`, `End it, or remove ${path} if it is none, and run this again.`);
    }
    await sleep(POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
  try {
    return await work();
  } finally {
    if (readText(path) === me) rmSync(path, { force: true });
  }
}

function takeLock(path, me) {
  const beside = `${path}.${process.pid}`;
  writeFileSync(beside, me);
  try {
    linkSync(beside, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(beside, { force: true });
  }
}

/** Takes a dead holder's lock away. Between reading and moving, someone else may have done so and locked: then theirs is put back. */
function removeStale(path, holder) {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
    if (readText(aside) !== holder) linkSync(aside, path);
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
  return true;
}

const pidOf = (holder) => /^\d+/.exec(holder)?.[0] ?? '?';

/** "PID START": START is in clock ticks since the machine's start (proc(5), stat, field 22), or "-" where there is no /proc. */
export function holderName(pid) {
  const stat = readText(`/proc/${pid}/stat`);
  return `${pid} ${stat ? stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] : '-'}`;
}

function isAlive(holder) {
  try {
    process.kill(Number(pidOf(holder)), 0);
  } catch (error) {
    return error.code === 'EPERM' && holderName(pidOf(holder)) === holder;
  }
  return holderName(pidOf(holder)) === holder;
}
