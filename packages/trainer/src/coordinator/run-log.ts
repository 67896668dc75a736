import { type NewEvent, type RunEvent, runEventSchema } from '../events.js';
import type { Progress } from '../membership/membership.js';
import type { RunDirectory } from '../run-directory.js';

/**
 * The run's log as several workers tell it: each fact once and in order, whoever says it first. After a generation that starts
 * behind what was written, what is told again is written again; readers know by the fact `generation`.
 */
export class RunLog {
  #step = 0;
  /** Epochs that are over. */
  #epochs = 0;
  #learningRates: Record<string, number> = {};
  /** The steps of changes that count. */
  #changes: number[] = [];
  readonly #changeSteps = new Map<number, number>();
  readonly #skipped = new Set<string>();
  #writing: Promise<void> = Promise.resolve();
  #fault: Error | null = null;

  constructor(private readonly run: RunDirectory, private readonly observe: (event: RunEvent) => void, earlier: readonly RunEvent[]) {
    for (const event of earlier) this.#note(event);
  }

  get step(): number {
    return this.#step;
  }

  /** Epochs that are over. */
  get epochs(): number {
    return this.#epochs;
  }

  /** The rates of the last step, by group. */
  get learningRates(): Readonly<Record<string, number>> {
    return this.#learningRates;
  }

  /** The steps that changes were taken at, by their number; also of steps that are to be done again. */
  get changeSteps(): ReadonlyMap<number, number> {
    return this.#changeSteps;
  }

  /** Changes that count. */
  get changeCount(): number {
    return this.#changes.length;
  }

  /** What training is at: a generation begins there. */
  rewind({ step, epoch }: Progress): void {
    this.#step = step;
    this.#epochs = epoch;
  }

  /**
   * Writes facts that a worker told. `isWriter`: rank 0, whose word alone counts for what it did itself.
   * @returns the steps and changes that were new
   * @throws Error for what is no fact
   */
  tell(json: readonly string[], isWriter: boolean): Extract<NewEvent, { type: 'step' | 'change' }>[] {
    return json.flatMap((text) => {
      const fact = parseFact(text);
      if (!this.#isNew(fact, isWriter)) return [];
      this.append(fact);
      return fact.type === 'step' || fact.type === 'change' ? [fact] : [];
    });
  }

  append(fact: NewEvent): void {
    this.#note(fact);
    this.#writing = this.#writing.then(async () => this.observe(await this.run.append(fact))).catch((error: unknown) => void (this.#fault ??= error instanceof Error ? error : new Error(String(error))));
  }

  /** All that was appended is on the disk. @throws UserError where it could not be written */
  async flush(): Promise<void> {
    await this.#writing;
    if (this.#fault !== null) throw this.#fault;
    await this.run.sync();
  }

  #isNew(fact: NewEvent, isWriter: boolean): boolean {
    switch (fact.type) {
      case 'step':
        return fact.step > this.#step;
      case 'epoch':
        return fact.epoch >= this.#epochs;
      case 'change':
        return fact.id > this.#changes.length;
      case 'skip':
        return !this.#skipped.has(fact.path);
      case 'phase':
      case 'checkpoint':
        return isWriter;
      case 'start':
      case 'resume':
      case 'generation':
      case 'command':
      case 'fault':
      case 'finish':
        return false;
      default:
        return fact satisfies never;
    }
  }

  #note(fact: NewEvent): void {
    if (fact.type === 'step') [this.#step, this.#learningRates] = [fact.step, fact.learningRates];
    if (fact.type === 'epoch') this.#epochs = fact.epoch + 1;
    if (fact.type === 'change') {
      this.#changes.push(fact.step);
      this.#changeSteps.set(fact.id, fact.step);
    }
    if (fact.type === 'generation') this.#changes = this.#changes.filter((at) => at <= fact.step);
    if (fact.type === 'skip') this.#skipped.add(fact.path);
  }
}

export function parseFact(json: string): NewEvent {
  const { time: _time, ...fact } = runEventSchema.parse({ ...(JSON.parse(json) as object), time: new Date(0).toISOString() });
  return fact as NewEvent;
}
