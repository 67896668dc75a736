import type { Tensor } from '@tensorflow/tfjs-core';
import type { Parameter, StateBuffer } from '../parameter.js';
import type { Pass } from '../tape.js';

/**
 * A part of a network. `forward` borrows x and gives a tensor that the caller owns; what the way back needs of x it
 * clones, which costs no memory.
 */
export interface Module {
  forward(x: Tensor, pass: Pass): Tensor;
  /** The same, but takes x over: for modules that can make y of its memory, or let go of it earlier. */
  consume?: ((x: Tensor, pass: Pass) => Tensor) | undefined;
  parameters(): Parameter[];
  buffers(): StateBuffer[];
}

/** Runs modules one after the other and lets go of what lies between them. */
export const chain = (x: Tensor, pass: Pass, modules: readonly Module[]): Tensor => consumeAll(x.clone(), pass, modules);

/** Runs a module and lets go of what it takes. */
export function consume(module: Module, x: Tensor, pass: Pass): Tensor {
  if (module.consume) return module.consume(x, pass);
  const y = module.forward(x, pass);
  x.dispose();
  return y;
}

/** Runs modules in a row, of which each lets go of what it takes. */
export const consumeAll = (x: Tensor, pass: Pass, modules: readonly Module[]): Tensor => modules.reduce((y, module) => consume(module, y, pass), x);

export class Sequential implements Module {
  constructor(readonly modules: readonly Module[]) {}

  forward(x: Tensor, pass: Pass): Tensor {
    return chain(x, pass, this.modules);
  }

  parameters(): Parameter[] {
    return this.modules.flatMap((module) => module.parameters());
  }

  buffers(): StateBuffer[] {
    return this.modules.flatMap((module) => module.buffers());
  }
}

/** A module without a state. */
export abstract class Stateless implements Module {
  abstract forward(x: Tensor, pass: Pass): Tensor;

  parameters(): Parameter[] {
    return [];
  }

  buffers(): StateBuffer[] {
    return [];
  }
}
