import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../../../cli/bin/chameleon.js', import.meta.url));
export const isBuilt = existsSync(BIN) && existsSync(fileURLToPath(new URL('../../../cli/dist/main.js', import.meta.url)));

export interface Chameleon extends AsyncDisposable {
  child: ChildProcess;
  /** Waits for what the pattern's first group stands for in what the command says. */
  said(pattern: RegExp): Promise<string>;
  /** Waits for its end. */
  ended: Promise<number | null>;
}

/** The real command, as a process of its own. */
export function chameleon(folder: string, ...args: string[]): Chameleon {
  const child = spawn('nice', [process.execPath, BIN, ...args], { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' }, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  const ended = new Promise<number | null>((resolve) => void child.once('close', resolve));
  const said = async (pattern: RegExp) => {
    for (let attempt = 0; attempt < 600; attempt++) {
      const found = pattern.exec(text)?.[1];
      if (found !== undefined) return found;
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`chameleon ${args.join(' ')} did not say ${String(pattern)}: ${text}`);
  };
  return {
    child, said, ended,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Asks a server to classify, again and again, with a picture that is none among them. */
export function load(url: string, pictures: readonly Buffer[]): AsyncDisposable {
  const stop = new AbortController();
  const asking = (async () => {
    for (let i = 0; !stop.signal.aborted; i++) {
      const body = i % 10 === 9 ? Buffer.from('no picture') : pictures[i % pictures.length]!;
      await fetch(`${url}/v1/classify`, { method: 'POST', headers: { 'content-type': 'image/jpeg' }, body: Uint8Array.from(body), signal: stop.signal }).then((answer) => answer.arrayBuffer(), () => undefined);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  return { [Symbol.asyncDispose]: async () => (stop.abort(), asking) };
}

export async function picturesIn(folder: string, count: number): Promise<Buffer[]> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.jpg')).sort().slice(0, count);
  return Promise.all(names.map((name) => readFile(join(folder, name))));
}

/** Waits until something holds, for a minute at most. @throws Error that names it */
export async function eventually(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`within a minute there was not: ${what}`);
}

/** What is to be ended, the last first: Node 20 has no AsyncDisposableStack. */
export class Cleanup implements AsyncDisposable {
  readonly #ends: (() => PromiseLike<void> | void)[] = [];

  use<Resource extends AsyncDisposable>(resource: Resource): Resource {
    this.defer(() => resource[Symbol.asyncDispose]());
    return resource;
  }

  defer(end: () => PromiseLike<void> | void): void {
    this.#ends.push(end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }
}
