import type { Parameter } from '@chameleon/core';
import { zeros } from '@tensorflow/tfjs-core';
import { type BucketLayout, layBuckets } from './layout.js';

/** A bucket's memory, and its way to the other ranks. */
export interface Carrier<Memory> {
  make(length: number): Memory;
  /** Lays a parameter's gradient in. */
  place(memory: Memory, parameter: Parameter, offset: number): void;
  /** Sums the bucket over the ranks; buckets are summed in the order of the calls. */
  sum(memory: Memory): Promise<void>;
  /** Waits until all ranks have the sums before it: only then may a bucket's memory change. */
  settle(): Promise<void>;
  /** Makes the bucket's part the parameter's gradient. */
  take(memory: Memory, parameter: Parameter, offset: number): void;
  release(memory: Memory): void;
}

interface Filling<Memory> {
  layout: BucketLayout<Parameter>;
  memory: Memory;
  /** Parameters whose gradients lie in it in this step. */
  placed: Set<Parameter>;
}

/**
 * Gradients in buckets that travel as soon as they are full. All ranks send the same buckets in the same order, whichever gradients they have:
 * a rank without pictures brings zeros. The parameters of a step are known when it is over; those of the step before are taken to be the same.
 * Where they are not, the buckets of before are sent once more by all, then what they left out, and the layout is made anew.
 */
export class GradientBuckets<Memory> {
  #buckets: Filling<Memory>[] = [];
  #bucketOf = new Map<Parameter, { bucket: Filling<Memory>; offset: number }>();
  /** The sums that are under way, one for each of the first buckets. */
  #sums: Promise<void>[] = [];

  constructor(readonly worldSize: number, readonly carrier: Carrier<Memory>) {}

  ready(parameter: Parameter): void {
    const place = this.#bucketOf.get(parameter);
    if (place === undefined) return;
    this.#place(parameter, place);
    this.#send(({ layout, placed }) => placed.size === layout.entries.length);
  }

  async sum(parameters: readonly Parameter[]): Promise<void> {
    await this.#sumAll();
    const left = parameters.filter((parameter) => !this.#bucketOf.has(parameter));
    if (left.length === 0 && parameters.length === this.#bucketOf.size) return;
    if (left.length > 0) {
      this.#lay(left);
      await this.#sumAll();
    }
    if (left.length < parameters.length) this.#lay(parameters);
  }

  dispose(): void {
    for (const { memory } of this.#buckets) this.carrier.release(memory);
    this.#buckets = [];
    this.#bucketOf.clear();
  }

  #lay(parameters: readonly Parameter[]): void {
    this.dispose();
    for (const layout of layBuckets(parameters, this.worldSize)) {
      const bucket = { layout, memory: this.carrier.make(layout.length), placed: new Set<Parameter>() };
      this.#buckets.push(bucket);
      for (const { parameter, offset } of layout.entries) this.#bucketOf.set(parameter, { bucket, offset });
    }
  }

  /** Sums every bucket, full or not. */
  async #sumAll(): Promise<void> {
    for (const [parameter, place] of this.#bucketOf) {
      if (place.bucket.placed.has(parameter)) continue;
      if (parameter.gradient === null) parameter.accumulate(zeros(parameter.shape));
      this.#place(parameter, place);
    }
    this.#send(() => true);
    const sums = this.#sums;
    this.#sums = [];
    await Promise.all([...sums, this.carrier.settle()]);
    for (const [parameter, { bucket, offset }] of this.#bucketOf) this.carrier.take(bucket.memory, parameter, offset);
    for (const { placed } of this.#buckets) placed.clear();
  }

  #place(parameter: Parameter, { bucket, offset }: { bucket: Filling<Memory>; offset: number }): void {
    this.carrier.place(bucket.memory, parameter, offset);
    bucket.placed.add(parameter);
  }

  /** Sends the buckets that come next, as far as they may go. */
  #send(may: (bucket: Filling<Memory>) => boolean): void {
    for (let next = this.#buckets[this.#sums.length]; next !== undefined && may(next); next = this.#buckets[this.#sums.length]) {
      const sum = this.carrier.sum(next.memory);
      // Heard of in `sum`; a step that is given up before it never comes there.
      sum.catch(() => undefined);
      this.#sums.push(sum);
    }
  }
}
