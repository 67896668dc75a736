import { type ChildProcess, execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';
import { main } from '../main.js';

export const BIN = fileURLToPath(new URL('../../bin/chameleon.js', import.meta.url));

export interface Ended {
  code: number;
  out: string;
  err: string;
}

/** The environment of a person who has set nothing. */
export const plainEnvironment = (more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({ ...process.env, NODE_OPTIONS: '', NO_COLOR: undefined, FORCE_COLOR: undefined, ...more });

/** Runs the built command as a person does, without a terminal; `onStart` is handed the process. */
export function chameleon(cwd: string, args: readonly string[], { environment = {}, onStart }: { environment?: NodeJS.ProcessEnv; onStart?: (child: ChildProcess) => void } = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [BIN, ...args], { cwd, env: plainEnvironment(environment), maxBuffer: 1 << 26 }, (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }));
    onStart?.(child);
  });
}

/** The same in this process, where the engine is loaded once for many calls: for calls that are refused. */
export async function chameleonHere(cwd: string, args: readonly string[]): Promise<Ended> {
  const before = process.cwd();
  const [out, err] = [capture(process.stdout), capture(process.stderr)];
  process.chdir(cwd);
  try {
    const code = await main(args);
    return { code, out: out.text(), err: err.text() };
  } finally {
    process.chdir(before);
    out.restore();
    err.restore();
  }
}

function capture(stream: NodeJS.WriteStream): { text: () => string; restore: () => void } {
  const spy = vi.spyOn(stream, 'write').mockReturnValue(true);
  return { text: () => spy.mock.calls.map(([part]) => String(part)).join(''), restore: () => spy.mockRestore() };
}

/** A folder that is gone when the tests are over. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'chameleon-cli-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
