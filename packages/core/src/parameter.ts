import { type Tensor, add, keep } from '@tensorflow/tfjs-core';
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
  readonly #derived = new Map<string, Tensor>();

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
    return precision === 'float32' ? this.#value : this.derived(precision, () => toPrecision(this.#value, precision));
  }

  /** What was made of the value, which the parameter keeps and owns until the value changes. One of a kind is kept. */
  derived(kind: string, make: () => Tensor): Tensor {
    const known = this.#derived.get(kind);
    if (known) return known;
    // Whoever is in a `tidy` at the moment doesn't own it.
    const tensor = keep(make());
    this.#derived.set(kind, tensor);
    return tensor;
  }

  /** What it holds at the moment: the value, what was made of it, the gradient. */
  get tensors(): Tensor[] {
    return [this.#value, ...this.#derived.values(), this.gradient].filter((tensor) => tensor !== null);
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
    for (const tensor of this.#derived.values()) tensor.dispose();
    this.#derived.clear();
  }

  clearGradient(): void {
    this.gradient?.dispose();
    this.gradient = null;
  }

  dispose(): void {
    this.changed();
    release(this.#value, this.gradient);
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
