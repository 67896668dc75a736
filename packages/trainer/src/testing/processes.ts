import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { RunEvent } from '../events.js';
import type { WorkerOptions } from '../worker/worker.js';

/** A real process of a test's, which dies with it. */
export interface TestProcess {
  readonly pid: number;
  readonly lines: string[];
  /** Exit code, or null where a signal ended it. */
  readonly ended: Promise<number | null>;
  kill(signal: NodeJS.Signals): void;
}

const started = new Set<ChildProcess>();
/** What each process printed, for the message of a test that fails. */
const said: string[][] = [];
process.on('exit', () => started.forEach((child) => child.kill('SIGKILL')));

/** Ends what a test left running. */
export async function endProcesses(): Promise<void> {
  await Promise.all([...started].map((child) => new Promise<void>((resolve) => (child.exitCode === null && child.signalCode === null ? child.once('close', () => resolve()) && child.kill('SIGKILL') : resolve()))));
  started.clear();
  said.length = 0;
}

/** How a process is started otherwise: more environment, and a program that starts it. */
interface Wrapping {
  env?: NodeJS.ProcessEnv;
  through?: readonly string[];
}

/** Runs a module's text in a process of its own, on this host or in a network namespace; what it needs is in `input`, as JSON. */
function run(text: string, input: unknown, namespace?: string, { env = {}, through = [] }: Wrapping = {}): TestProcess {
  const [program, ...args] = [...(namespace ? ['/usr/sbin/ip', 'netns', 'exec', namespace] : []), ...through, process.execPath, '--input-type=module', '-e', text];
  const child = spawn(program!, args, { env: { ...process.env, NODE_OPTIONS: '', OMP_NUM_THREADS: '1', TEST_INPUT: JSON.stringify(input), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  started.add(child);
  const lines: string[] = [];
  said.push(lines);
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', (line) => lines.push(line));
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  return { pid: child.pid!, lines, ended, kill: (signal) => void child.kill(signal) };
}

const built = (path: string) => new URL(`../../dist/${path}`, import.meta.url).href;

/** A worker on the real engine, one thread, as the built package runs it. */
export function startWorkerProcess(options: Pick<WorkerOptions, 'coordinator' | 'id'> & Partial<Pick<WorkerOptions, 'node' | 'data' | 'dataCache' | 'address' | 'patienceMs' | 'engine'>> & { token?: string }, namespace?: string, wrapping?: Wrapping): TestProcess {
  const text = `
    import { runWorker } from '${built('worker/worker.js')}';
    const leave = new AbortController();
    process.on('SIGTERM', () => leave.abort(new Error('told to leave')));
    const options = JSON.parse(process.env.TEST_INPUT);
    const security = { token: options.token ?? null, tls: null };
    const engine = { module: '@chameleon/tfjs-libtorch', backend: 'libtorch' };
    runWorker({ node: options.id, patienceMs: 10_000, engine, ...options, security, threads: 1, loaderThreads: 1, signal: leave.signal, log: (line) => console.log(line) }).then(
      ({ reason, failed }) => { console.log('done: ' + reason); process.exit(failed ? 1 : 0); },
      (error) => { console.log('error: ' + error.message); process.exit(1); },
    );`;
  return run(text, options, namespace, wrapping);
}

/** A coordinator in a process of its own; what it prints are the run's facts. */
export function startCoordinatorProcess(place: unknown, options: unknown, namespace?: string): TestProcess & { facts(): RunEvent[] } {
  const text = `
    import { startCoordinator } from '${built('coordinator/start.js')}';
    const { place, options } = JSON.parse(process.env.TEST_INPUT);
    const running = await startCoordinator(place, options, { backend: 'libtorch', observe: (event) => console.log(JSON.stringify(event)) });
    console.log('listening on ' + running.port);
    const outcome = await running.outcome;
    await running.close();
    process.exit(outcome.reason === 'interrupted' ? 130 : 0);`;
  const child = run(text, { place, options }, namespace);
  const facts: RunEvent[] = [];
  let read = 0;
  const told = () => {
    for (; read < child.lines.length; read++) if (child.lines[read]!.startsWith('{')) facts.push(JSON.parse(child.lines[read]!) as RunEvent);
    return facts;
  };
  return { ...child, facts: told };
}

/** Waits until something is so; looks often, and gives up after a while. */
export async function until(what: string, isSo: () => boolean, withinMs = 60_000): Promise<void> {
  for (const endMs = performance.now() + withinMs; !isSo(); ) {
    if (performance.now() > endMs) throw new Error([`it never came to this: ${what}`, ...said.map((lines, i) => `process ${i}: ${lines.slice(-12).join('\n  ')}`)].join('\n'));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
