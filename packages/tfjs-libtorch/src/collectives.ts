import type { TensorInfo } from '@tensorflow/tfjs-core';
import { BFLOAT16, FLOAT32, type GroupOptions, type Handle, type NativeGroup, addon, callOperator } from './addon.js';
import type { LibtorchBackend } from './backend.js';

export type { GroupOptions } from './addon.js';

/** Where a gradient lies in a bucket; a filter's numbers stand in the order in which a convolution's gradient gives them. */
export interface Place { offset: number; filter: boolean }

/** How often a blocked thread asks whether what it waits for is still wanted. */
const ASK_MS = 10;

type Result = Float64Array | Uint8Array | undefined;
interface Waiting { resolve: (result: Result) => void; reject: (error: Error) => void }

/** A flat stretch of memory that gradients are laid into and that ranks sum as a whole. */
export class Bucket {
  readonly #backend: LibtorchBackend;
  /** @param length in numbers; a multiple of the number of ranks */
  constructor(backend: LibtorchBackend, readonly length: number, precision: 'float32' | 'bfloat16', device: 'cpu' | 'cuda') {
    this.#backend = backend;
    this.handle = callOperator('aten::zeros', [[length], precision === 'bfloat16' ? BFLOAT16 : FLOAT32, undefined, device]) as Handle;
  }

  readonly handle: Handle;

  /** Lays a gradient in. On the bucket's device it lies there from then on, and becomes the sum when the bucket does. */
  place(gradient: TensorInfo, { offset, filter }: Place): void {
    addon().placeInBucket(this.handle, offset, this.#backend.handle(gradient), filter);
  }

  /** Gives a gradient on another device its sum; does nothing for others. */
  take(gradient: TensorInfo, { offset, filter }: Place): void {
    addon().takeFromBucket(this.handle, offset, this.#backend.handle(gradient), filter);
  }

  dispose(): void {
    addon().release(this.handle);
  }
}

/**
 * A group of processes that sum tensors, over PyTorch's c10d with Gloo or NCCL. Calls return at once and are done in their order by
 * a thread of the group's own. Every rank makes the same calls in the same order. After one has failed, all that follow do.
 */
export class ProcessGroup {
  readonly #backend: LibtorchBackend;
  readonly #native: NativeGroup;
  readonly #device: 'cpu' | 'cuda';
  readonly #waiting = new Map<number, Waiting>();
  #nextJob = 1;
  #over: Error | null = null;
  /** Resolves when all ranks have met and a first sum is right; rejects saying who didn't come. */
  readonly ready: Promise<void>;

  /** @throws where the addon was compiled without that kind */
  constructor(backend: LibtorchBackend, options: GroupOptions) {
    if (options.kind === 'nccl' && !addon().collectives.includes('nccl')) throw new Error("the addon was compiled without NCCL, which wants a libtorch with CUDA (`node tools/setup.mjs --engine pip`), CUDA's headers and NCCL's");
    if (!addon().collectives.includes(options.kind) && addon().collectives.length > 0) throw new Error(`the addon was compiled without ${options.kind}`);
    this.#backend = backend;
    this.#device = options.kind === 'nccl' ? 'cuda' : 'cpu';
    const ready = new Promise<Result>((resolve, reject) => this.#waiting.set(0, { resolve, reject }));
    this.#native = addon().openGroup(options, (job, error, result) => {
      const waiting = this.#waiting.get(job);
      this.#waiting.delete(job);
      if (error === null) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    });
    this.ready = ready.then(() => undefined);
  }

  bucket(length: number, precision: 'float32' | 'bfloat16'): Bucket {
    return new Bucket(this.#backend, length, precision, this.#device);
  }

  /** Sums a bucket where it lies. By Gloo, bfloat16 is summed in float32 and rounded once. Until `settle` it must stay as it is: other ranks may still read it. */
  async sumBucket({ handle }: Bucket): Promise<void> {
    await this.#submit((job) => addon().sumOverRanks(this.#native, job, handle));
  }

  /** Waits until all ranks have the sums of the buckets before it. */
  async settle(): Promise<void> {
    await this.#submit((job) => addon().settleSums(this.#native, job));
  }

  async sumNumbers(values: readonly number[]): Promise<number[]> {
    const sums = await this.#submit((job) => addon().sumNumbers(this.#native, job, Float64Array.from(values)));
    return [...(sums as Float64Array)];
  }

  /**
   * Sums a float32 tensor where it lies, and blocks this thread until it is done: for what stands in the middle of a pass. A blocked thread
   * hears no message, so whether the sum is still wanted is asked every few milliseconds; once `givenUp` says so, the group is abandoned.
   */
  sumNow(tensor: TensorInfo, givenUp: () => boolean = () => false): void {
    if (this.#over) throw this.#over;
    const sum = addon().beginSum(this.#native, this.#backend.handle(tensor));
    while (!addon().awaitSum(sum, ASK_MS)) {
      if (!givenUp()) continue;
      const error = new Error('given up');
      this.abandon(error);
      throw error;
    }
  }

  /** The root's bytes; others pass null. */
  async broadcast(bytes: Uint8Array | null, root: number): Promise<Uint8Array> {
    return (await this.#submit((job) => addon().broadcastBytes(this.#native, job, bytes, root))) as Uint8Array;
  }

  /** Gives up: what is waited for rejects now, and what the group holds is let go of in the background. */
  abandon(error: Error): void {
    if (this.#over) return;
    this.#over = error;
    addon().abandonGroup(this.#native);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /** Waits until the other ranks close too, or are gone, and lets go of all connections. */
  async close(): Promise<void> {
    if (this.#over) return;
    await this.#submit((job) => addon().closeGroup(this.#native, job)).catch(() => undefined);
    this.abandon(new Error('the group is closed'));
  }

  #submit(start: (job: number) => void): Promise<Result> {
    if (this.#over) return Promise.reject(this.#over);
    const job = this.#nextJob++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(job, { resolve, reject });
      start(job);
    });
  }
}
