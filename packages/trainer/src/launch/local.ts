import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Workers as processes that this one starts, here or by way of ssh, and that live as long as their run. */

export interface LocalOptions {
  count: number;
  /** The program and its arguments for the worker of a place (0 … count-1), whose `try` counts from 0. */
  command: (slot: number, attempt: number) => [file: string, args: string[]];
  env: NodeJS.ProcessEnv;
  /** Written to each one's standard input first. */
  firstLine?: string;
  /** A line that a worker printed. */
  onLine: (slot: number, line: string) => void;
  /** Another process takes a lost one's place so many times. */
  maxRestarts: number;
}

export interface LocalWorkers {
  /** Rejects when no worker is left and none will be started. */
  readonly lost: Promise<never>;
  /** The process of each place, null where there is none at the moment. */
  pids(): (number | null)[];
  /** Waits for the workers to end by themselves; after a while they are ended. */
  close(): Promise<void>;
}

const RESTART_MS = 500;
const CLOSE_MS = 8_000;
/** Its standard input ends with this process, however that ends: then the worker leaves. */
const STDIO: ['pipe', 'ignore', 'pipe'] = ['pipe', 'ignore', 'pipe'];

export function launchLocal({ count, command, env, firstLine, onLine, maxRestarts }: LocalOptions): LocalWorkers {
  const children: (ChildProcess | null)[] = Array.from({ length: count }, () => null);
  const attempts = children.map(() => 0);
  const timers = new Set<NodeJS.Timeout>();
  let closing = false, lastLine = '';
  let fail!: (error: Error) => void;
  const lost = new Promise<never>((_, reject) => (fail = reject));
  lost.catch(() => undefined);

  const start = (slot: number): void => {
    const [file, args] = command(slot, attempts[slot]!);
    // A group of its own: Ctrl-C is for the coordinator, which lets the workers finish their step.
    const child = spawn(file, args, { env, stdio: STDIO, detached: true });
    children[slot] = child;
    child.stdin.on('error', () => undefined);
    if (firstLine !== undefined) child.stdin.write(`${firstLine}\n`);
    createInterface({ input: child.stderr }).on('line', (line) => {
      lastLine = line.trim() || lastLine;
      onLine(slot, line);
    });
    child.once('error', (error) => onLine(slot, error.message));
    child.once('close', (code, signal) => ended(slot, code === null ? `was killed by ${signal}` : `ended with code ${code}`));
  };
  const ended = (slot: number, how: string): void => {
    children[slot] = null;
    if (closing) return;
    onLine(slot, how);
    if (attempts[slot]!++ < maxRestarts) {
      const timer = setTimeout(() => {
        timers.delete(timer);
        start(slot);
      }, RESTART_MS);
      timers.add(timer);
    } else if (timers.size === 0 && children.every((child) => child === null)) {
      fail(new Error(`All ${count} workers were lost. The last one said: ${lastLine || how}`));
    }
  };
  for (let slot = 0; slot < count; slot++) start(slot);

  return {
    lost,
    pids: () => children.map((child) => child?.pid ?? null),
    close: async () => {
      closing = true;
      for (const timer of timers) clearTimeout(timer);
      const left = children.filter((child) => child !== null);
      for (const child of left) child.stdin!.end();
      await Promise.all(left.map((child) => endOf(child)));
    },
  };
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const timer = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
  await new Promise<void>((resolve) => child.once('close', () => resolve()));
  clearTimeout(timer);
}
