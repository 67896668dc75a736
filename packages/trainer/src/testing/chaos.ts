import { setTimeout as sleep } from 'node:timers/promises';
import { permutation, randomStream } from '@chameleon/core';
import type { TrainConfig } from '../config.js';
import type { CoordinatorOptions } from '../coordinator/start.js';
import type { RunEvent } from '../events.js';
import type { TestHost } from './namespaces.js';
import { type TestProcess, startCoordinatorProcess, startWorkerProcess, until } from './processes.js';

/** What befalls a run: a killed worker, a stopped one, a cut cable, a killed coordinator, and everything killed at once. */
export type FaultKind = 'kill' | 'stop' | 'cut' | 'kill-coordinator' | 'kill-all';

export interface Fault {
  kind: FaultKind;
  /** As soon as so many steps are applied and all workers take part. */
  atStep: number;
  /** ms after that: anywhere in a step, or between two. */
  afterMs: number;
  /** Which of the ranks, as a share of their number. */
  victim: number;
}

/** A list of faults that follows from the seed and the counts alone. */
export function planChaos(seed: number, counts: Partial<Record<FaultKind, number>>, { firstStep, gap, withinMs }: { firstStep: number; gap: number; withinMs: number }): Fault[] {
  const kinds = Object.entries(counts).flatMap(([kind, count]) => Array.from({ length: count }, () => kind as FaultKind));
  const random = randomStream('chaos', seed);
  return Array.from(permutation(kinds.length, 'chaos order', seed), (place, i) => ({ kind: kinds[place]!, atStep: firstStep + i * gap + random.integer(gap), afterMs: random.integer(withinMs), victim: random.uniform() }));
}

export interface ChaosRun {
  config: TrainConfig;
  out: string;
  path: string;
  options: Omit<CoordinatorOptions, 'listen'>;
  listen: string;
  token: string;
  workers: number;
  /** Where the coordinator and each worker live; without, all on this host. */
  hosts?: { coordinator: TestHost; workers: TestHost[] };
}

interface Worker { process: TestProcess; id: string; host: TestHost | undefined }

/** A run of real processes that faults can be done to. */
class Chaos {
  readonly injected: Fault[] = [];
  /** Of coordinators that were killed. */
  readonly #earlier: RunEvent[] = [];
  #coordinator: ReturnType<typeof startCoordinatorProcess>;
  #workers: Worker[];
  #started = 0;

  constructor(readonly run: ChaosRun) {
    const { config, out, path } = run;
    this.#coordinator = this.#startCoordinator({ config, out, path });
    this.#workers = Array.from({ length: run.workers }, (_, i) => this.#startWorker(run.hosts?.workers[i]));
  }

  async inject(fault: Fault): Promise<void> {
    await until(`step ${fault.atStep} with all workers (${fault.kind})`, () => this.#step() >= fault.atStep && this.#isWhole());
    await sleep(fault.afterMs);
    const ranks = this.#ranks(), id = ranks[Math.floor(fault.victim * ranks.length)]!, victim = this.#workers.find((worker) => worker.id === id)!;
    const isOut = () => !this.#ranks().includes(id);
    this.injected.push(fault);
    switch (fault.kind) {
      case 'kill':
        await this.#kill(victim);
        await until('the others go on', isOut);
        return;
      case 'stop':
        victim.process.kill('SIGSTOP');
        await until('the others go on', isOut);
        victim.process.kill('SIGCONT');
        return;
      case 'cut':
        victim.host!.cut();
        await until('the others go on', isOut);
        victim.host!.mend();
        return;
      case 'kill-coordinator':
        await this.#killCoordinator();
        this.#coordinator = this.#startCoordinator({ resume: this.run.path });
        return;
      case 'kill-all':
        await Promise.all([this.#killCoordinator(), ...this.#workers.map(({ process }) => end(process))]);
        this.#coordinator = this.#startCoordinator({ resume: this.run.path });
        this.#workers = this.#workers.map(({ host }) => this.#startWorker(host));
        return;
      default:
        fault.kind satisfies never;
    }
  }

  /** Who did not end well, with its last words. */
  async end(): Promise<string[]> {
    const processes = [{ id: 'coordinator', process: this.#coordinator as TestProcess }, ...this.#workers];
    const codes = await Promise.all(processes.map(({ process }) => process.ended));
    return processes.flatMap(({ id, process }, i) => (codes[i] === 0 ? [] : [`${id} ended with ${codes[i]}: ${process.lines.slice(-6).join('\n')}`]));
  }

  async #kill(victim: Worker): Promise<void> {
    await end(victim.process);
    this.#workers[this.#workers.indexOf(victim)] = this.#startWorker(victim.host);
  }

  async #killCoordinator(): Promise<void> {
    await end(this.#coordinator);
    this.#earlier.push(...this.#coordinator.facts());
  }

  #startCoordinator(place: unknown): ReturnType<typeof startCoordinatorProcess> {
    const { options, listen, hosts } = this.run;
    return startCoordinatorProcess(place, { ...options, listen }, hosts?.coordinator.name);
  }

  #startWorker(host: TestHost | undefined): Worker {
    const { listen, token } = this.run, id = `w${this.#started++}`;
    return { process: startWorkerProcess({ coordinator: listen, id, token, patienceMs: 60_000 }, host?.name), id, host };
  }

  #last<Type extends RunEvent['type']>(type: Type): Extract<RunEvent, { type: Type }> | undefined {
    const isOne = (fact: RunEvent): fact is Extract<RunEvent, { type: Type }> => fact.type === type;
    return this.#coordinator.facts().findLast(isOne) ?? this.#earlier.findLast(isOne);
  }

  #step = (): number => this.#last('step')?.step ?? 0;
  #ranks = (): readonly string[] => this.#last('generation')?.workers ?? [];
  #isWhole(): boolean {
    const ranks = this.#ranks();
    return this.#workers.every(({ id }) => ranks.includes(id)) && ranks.length === this.#workers.length;
  }
}

async function end(process: TestProcess): Promise<void> {
  process.kill('SIGKILL');
  await process.ended;
}

/** Does all faults of a plan to a run, one after the other, and waits for its end. */
export async function runChaos(run: ChaosRun, plan: readonly Fault[]): Promise<{ injected: Fault[]; unwell: string[] }> {
  const chaos = new Chaos(run);
  for (const fault of plan) await chaos.inject(fault);
  return { injected: chaos.injected, unwell: await chaos.end() };
}
