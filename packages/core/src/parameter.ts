import { type Tensor, add } from '@tensorflow/tfjs-core';
import { type Precision, release } from './ops/kernels.js';
import { toPrecision } from './ops/precision.js';

/**
 * How a tensor's axes stand in PyTorch's files and in ours. A convolution's filter is [out, in, height, width] there
 * and [height, width, in, out] here, as TF.js wants it.
 */
export type Layout = 'filter' | 'plain';

/** What learns: a value in float32, whether it is trained, and its gradient while a step lasts. */
export class Parameter {
  trainable = true;
  gradient: Tensor | null = null;
  #value: Tensor;
  #copy: Tensor | null = null;

  constructor(readonly name: string, value: Tensor, readonly layout: Layout = 'plain') {
    this.#value = value;
  }

  get value(): Tensor {
    return this.#value;
  }

  get shape(): number[] {
    return this.#value.shape;
  }

  get size(): number {
    return this.#value.size;
  }

  /** The value as the arithmetic takes it. The copy is kept until the value changes: for a frozen parameter, for good. */
  inPrecision(precision: Precision): Tensor {
    if (precision === 'float32') return this.#value;
    this.#copy ??= toPrecision(this.#value, precision);
    return this.#copy;
  }

  /** What it holds at the moment: the value, its copy in another precision, the gradient. */
  get tensors(): Tensor[] {
    return [this.#value, this.#copy, this.gradient].filter((tensor) => tensor !== null);
  }

  /** Takes over a gradient, or adds it to the one that is there. */
  accumulate(gradient: Tensor): void {
    if (this.gradient === null) {
      this.gradient = gradient;
      return;
    }
    const sum = add(this.gradient, gradient);
    release(this.gradient, gradient);
    this.gradient = sum;
  }

  /** Takes over a new value. */
  replace(value: Tensor): void {
    this.#value.dispose();
    this.#value = value;
    this.changed();
  }

  /** Says that the value was changed where it lies. */
  changed(): void {
    this.#copy?.dispose();
    this.#copy = null;
  }

  clearGradient(): void {
    this.gradient?.dispose();
    this.gradient = null;
  }

  dispose(): void {
    release(this.#value, this.#copy, this.gradient);
    this.#copy = null;
    this.gradient = null;
  }
}

/** What belongs to the state and doesn't learn: BatchNorm's running statistics. */
export class StateBuffer {
  #value: Tensor;

  constructor(readonly name: string, value: Tensor) {
    this.#value = value;
  }

  get value(): Tensor {
    return this.#value;
  }

  /** Takes over a new value. */
  replace(value: Tensor): void {
    this.#value.dispose();
    this.#value = value;
  }

  dispose(): void {
    this.#value.dispose();
  }
}
