import { type Tensor, add } from '@tensorflow/tfjs-core';
import { type Precision, release } from './ops/kernels.js';
import type { AcrossRanks } from './ops/synchronised-batch-norm.js';
import type { Parameter } from './parameter.js';

/**
 * The way back through a forward pass. Each module that has something to do there pushes a pullback, which owns what it
 * saved; the walk backward runs them from the last to the first, and each lets go of its own as it has run.
 * TF.js's tape holds every activation until the end of the step, 1.4 times PyTorch's peak; this one holds less than
 * PyTorch's.
 */

/** Takes over the gradient of a module's output and gives that of its input, or null where nothing below wants one. */
export type Pullback = (dy: Tensor) => Tensor | null;

export class Tape {
  readonly #pullbacks: Pullback[] = [];

  /** @param below whether something before the first module of this tape wants a gradient. */
  constructor(readonly below = false) {}

  /** Whether what was computed so far hangs on something that learns: else no gradient of it is ever computed. */
  get needsGradient(): boolean {
    return this.below || this.#pullbacks.length > 0;
  }

  get length(): number {
    return this.#pullbacks.length;
  }

  push(pullback: Pullback): void {
    this.#pullbacks.push(pullback);
  }

  /** Walks back from the gradient of the last output, which it takes over; gives that of the first input. */
  walk(dy: Tensor): Tensor | null {
    let gradient: Tensor | null = dy;
    for (let pullback = this.#pullbacks.pop(); pullback !== undefined; pullback = this.#pullbacks.pop()) {
      if (gradient === null) throw new Error('a module below one that passed no gradient waits for its own');
      gradient = pullback(gradient);
    }
    return gradient;
  }
}

/** One pass forward: where the way back is recorded, and what modules need to know of the step. */
export interface Pass {
  /** null: nothing is recorded (validation, serving). */
  tape: Tape | null;
  training: boolean;
  precision: Precision;
  /** Names each row's random numbers (dropout), so that they don't depend on who computes the row. */
  rowKeys?: readonly (number | string)[][];
  /** Called when a parameter's gradient of this pass is complete. */
  onGradient?: (parameter: Parameter) => void;
  /** Where BatchNorm's statistics of the batch are those of all ranks' rows; else of this pass's own. */
  acrossRanks?: AcrossRanks;
}

/** A pass without a way back. */
export const inference = (precision: Precision): Pass => ({ tape: null, training: false, precision });

/** Hands a parameter its gradient. */
export function give(pass: Pass, parameter: Parameter, gradient: Tensor): void {
  parameter.accumulate(gradient);
  pass.onGradient?.(parameter);
}

export interface Branch {
  y: Tensor;
  /** null when nothing on the branch, or before it, wants a gradient. */
  pullback: Pullback | null;
}

/** Runs a part of the network on a tape of its own, for parts that run beside each other. */
export function branch(pass: Pass, run: (pass: Pass) => Tensor): Branch {
  if (pass.tape === null) return { y: run(pass), pullback: null };
  const tape = new Tape(pass.tape.needsGradient);
  const y = run({ ...pass, tape });
  return { y, pullback: tape.needsGradient ? (dy) => tape.walk(dy) : null };
}

/** The sum of two gradients of one tensor, either of which may be absent; takes both over. */
export function sumOfGradients(a: Tensor | null, b: Tensor | null): Tensor | null {
  if (a === null || b === null) return a ?? b;
  const sum = add(a, b);
  release(a, b);
  return sum;
}
