import { type ChildProcess, fork } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ExchangeKind, ExchangeOptions } from '../exchange.js';

type Answer = { id: number | 'ready'; value?: unknown; error?: { name: string; message: string } };

/** What a rank's process threw. */
export class RankError extends Error {
  constructor(error: { name: string; message: string }) {
    super(error.message);
    this.name = error.name;
  }
}

/** A rank as a process of its own (testing/rank.mjs). */
export class RankProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number | 'ready', { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  readonly exited: Promise<number | string>;
  #next = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal!)));
    child.on('message', ({ id, value, error }: Answer) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) waiting?.reject(new RankError(error));
      else waiting?.resolve(value);
    });
  }

  static async start(env: NodeJS.ProcessEnv = {}): Promise<RankProcess> {
    const rank = new RankProcess(fork(fileURLToPath(new URL('rank.mjs', import.meta.url)), { execArgv: [], env: { ...process.env, ...env }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }));
    await Promise.race([
      new Promise((resolve, reject) => rank.#waiting.set('ready', { resolve, reject })),
      rank.exited.then((code) => Promise.reject(new Error(`a rank's process ended with ${code} before it was ready; is the build current?`))),
    ]);
    return rank;
  }

  call<T>(call: string, args: object = {}): Promise<T> {
    const id = this.#next++;
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject })) as Promise<T>;
    // Some are heard of late, or never: their process is killed.
    answer.catch(() => undefined);
    this.#child.send({ id, call, args });
    return answer;
  }

  open(kind: ExchangeKind, options: Omit<ExchangeOptions, 'signal' | 'isGivenUp'> & { giveUpFile?: string }): Promise<{ rank: number; worldSize: number }> {
    return this.call('open', { kind, options });
  }

  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  /** Lets the process end by itself; gives how it ended. */
  async end(): Promise<number | string> {
    this.#child.disconnect();
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

/** So many processes, none of which is left behind. @param envOf what a rank's environment has beside this process's */
export async function startRanks(count: number, envOf: (rank: number) => NodeJS.ProcessEnv = () => ({})): Promise<RankProcess[] & AsyncDisposable> {
  const ranks = await Promise.all(Array.from({ length: count }, (_, rank) => RankProcess.start(envOf(rank))));
  return Object.assign(ranks, { [Symbol.asyncDispose]: async () => void (await Promise.all(ranks.map((rank) => rank[Symbol.asyncDispose]()))) });
}

/** A port of this machine that nobody listens at. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
