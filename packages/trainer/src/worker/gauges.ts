import type { StepPhase } from '../training-step.js';

/**
 * What the compute thread is at, in memory that the network thread reads whenever it likes: also in the middle of a step, when
 * no message would get through.
 */
export type GaugePhase = StepPhase | 'waiting' | 'meeting' | 'state' | 'validation' | 'checkpoint';
const PHASES: readonly GaugePhase[] = ['waiting', 'meeting', 'state', 'data', 'forward', 'backward', 'exchange', 'optimizer', 'validation', 'checkpoint'];
const FIELDS = 6;

export interface GaugeReading {
  phase: GaugePhase;
  step: number;
  epoch: number;
  /** Pictures of applied steps that this worker computed since it started. */
  samples: number;
  /** Seconds spent in each phase since the worker started. */
  seconds: Record<GaugePhase, number>;
  /** Whether the compute thread waits for other ranks, in whichever phase. */
  inExchange: boolean;
}

export class Gauges {
  readonly #values: Float64Array;
  #since = performance.now();

  constructor(readonly memory: SharedArrayBuffer = new SharedArrayBuffer(8 * (FIELDS + PHASES.length))) {
    this.#values = new Float64Array(memory);
  }

  /** The compute thread begins something else. */
  enter(phase: GaugePhase): void {
    const nowMs = performance.now();
    this.#values[FIELDS + this.#values[0]!]! += (nowMs - this.#since) / 1000;
    this.#since = nowMs;
    this.#values[0] = PHASES.indexOf(phase);
  }

  reached(step: number, epoch: number, samples: number): void {
    this.#values[1] = step;
    this.#values[2] = epoch;
    this.#values[3]! += samples;
  }

  /** The network thread's word to a compute thread that is blocked in a sum and hears no message: the last generation that is given up. */
  abandon(generation: number): void {
    this.#values[4] = generation;
  }

  isAbandoned(generation: number): boolean {
    return this.#values[4]! >= generation;
  }

  /** A call of the exchange begins or is over. */
  exchanging(by: 1 | -1): void {
    this.#values[5]! += by;
  }

  read(): GaugeReading {
    const [phase, step, epoch, samples] = this.#values as unknown as [number, number, number, number];
    const seconds = Object.fromEntries(PHASES.map((name, i) => [name, this.#values[FIELDS + i]!])) as Record<GaugePhase, number>;
    return { phase: PHASES[phase]!, step, epoch, samples, seconds, inExchange: this.#values[5]! > 0 };
  }
}
