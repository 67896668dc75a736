import { availableParallelism } from 'node:os';
import type { Dataset, Picture, SkippedFile } from './dataset.js';
import type { Job, JobFault, JobResult, SharedPicture } from './loader-job.js';
import { IMAGENET_NORMALIZATION, type Normalization } from './normalize.js';
import { epochOrder, stepCount } from './order.js';
import { PictureError, inDataset } from './picture-error.js';
import { type PictureFolder, placeOf } from './pictures.js';
import type { Augmentation } from './transforms.js';
import { WorkerPool } from './worker-pool.js';

export interface Batch {
  /** NHWC, [rows, size, size, 3], normalised. Later batches are written to the same memory: it holds until the next one is asked for. */
  pixels: Float32Array;
  labels: Int32Array;
  /** Into the data set's `train` or `valid`. */
  indices: Int32Array;
  /** Fewer than asked for where bad pictures were left out; in training even none, so that all ranks take the same steps. */
  rows: number;
  /** Of the epoch, from 0. */
  step: number;
}

export interface LoaderOptions {
  /** px */
  imageSize: number;
  /** What the shorter side of a validation picture becomes before the centre crop, at least `imageSize`; by default 256 / 224 of it. */
  shorterSide?: number;
  normalization?: Normalization;
  /** Threads that decode; by default the cores, at most 4. */
  workers?: number;
  /** Batches that are made ahead of the one that was asked for. */
  prefetch?: number;
  /** Decoded pictures kept in memory for the next epochs, by all threads together. */
  cacheBytes?: number;
  /** `throw`: the first picture that can't be decoded ends the iteration; `skip`: its row is left out, and it is listed. */
  onBadPicture?: 'throw' | 'skip';
}

export interface TrainPlan {
  seed: number;
  epoch: number;
  /** Of all ranks together. */
  batchSize: number;
  augmentation: Augmentation;
  firstStep?: number;
  dropLast?: boolean;
  /** The part [from, to) of a global batch of so many rows that this rank takes; by default all. */
  slice?: (rows: number) => [from: number, to: number];
  signal?: AbortSignal | undefined;
}

export interface ValidPlan {
  batchSize: number;
  /** The part [from, to) of the validation pictures; by default all. */
  from?: number;
  to?: number;
  signal?: AbortSignal | undefined;
}

const DEFAULT_CACHE_BYTES = 512 * 2 ** 20;
/** Pictures of one job: few, so that a batch spreads over the threads and a batch that nobody wants soon ends. */
const PICTURES_PER_JOB = 8;

/** One side of the data set, and what is known of its pictures, by index. */
interface Side {
  pictures: readonly Picture[];
  decoded: Map<number, SharedPicture>;
  bad: Set<number>;
}

/** A batch as the threads left it: which rows of the memory hold its pictures. */
interface Made extends Omit<Batch, 'pixels' | 'rows'> {
  memory: SharedArrayBuffer;
  rows: number[];
}

/** A batch to be made. */
interface Request {
  side: Side;
  indices: Int32Array;
  step: number;
  training: Job['training'];
}

/**
 * Batches of a data set, decoded, cropped and normalised in threads of its own, a few ahead of the thread that computes.
 * What a batch holds depends on seed, epoch and step alone, never on the threads. Decoded pictures lie in memory that
 * all threads see, until `cacheBytes` are full; what comes later isn't kept, for in an epoch's random order the latest
 * are no likelier to be asked for than the first. The threads start with the first batch; `close` ends them.
 *
 * @example
 * await using loader = new PictureLoader(await openDataset('photos'), { imageSize: 224 });
 * for await (const batch of loader.train({ seed: 1, epoch: 0, batchSize: 64, augmentation: DEFAULT_AUGMENTATION })) train(batch);
 */
export class PictureLoader implements AsyncDisposable {
  readonly #folder: PictureFolder;
  readonly #pool: WorkerPool;
  readonly #train: Side;
  readonly #valid: Side;
  readonly #options: Pick<Required<LoaderOptions>, 'imageSize' | 'normalization' | 'prefetch' | 'onBadPicture'> & Pick<Job, 'shorterSide'>;
  readonly #skipped: SkippedFile[] = [];
  /** Memory of batches that nobody looks at any more. New memory for each would cost a third of the threads' time, in page faults and garbage collection. */
  readonly #spare: SharedArrayBuffer[] = [];
  #room: number;

  constructor(dataset: Dataset, options: LoaderOptions) {
    const { imageSize, normalization = IMAGENET_NORMALIZATION, workers = Math.min(4, availableParallelism()), prefetch = 2, onBadPicture = 'throw' } = options;
    this.#folder = dataset;
    this.#pool = new WorkerPool(workers);
    this.#train = { pictures: dataset.train, decoded: new Map(), bad: new Set() };
    this.#valid = { pictures: dataset.valid, decoded: new Map(), bad: new Set() };
    this.#options = { imageSize, shorterSide: options.shorterSide ?? null, normalization, prefetch, onBadPicture };
    this.#room = options.cacheBytes ?? DEFAULT_CACHE_BYTES;
  }

  /** Pictures whose rows were left out so far, each once. */
  get skipped(): SkippedFile[] {
    return [...this.#skipped];
  }

  /** Jobs of the threads that wait or are under way. */
  get pending(): number {
    return this.#pool.pending;
  }

  /**
   * The steps of one epoch from `firstStep` on.
   *
   * @throws {PictureError} for a picture that can't be decoded, unless `onBadPicture` is `skip`
   */
  train({ seed, epoch, batchSize, augmentation, firstStep = 0, dropLast = false, slice = (rows) => [0, rows], signal }: TrainPlan): AsyncGenerator<Batch, void, void> {
    const side = this.#train;
    const order = epochOrder(side.pictures.length, seed, epoch);
    const request = (step: number): Request => {
      const whole = order.subarray(step * batchSize, (step + 1) * batchSize);
      return { side, indices: whole.slice(...slice(whole.length)), step, training: { augmentation, seed, epoch } };
    };
    return this.#batches(firstStep, stepCount(side.pictures.length, batchSize, dropLast), request, { keepEmpty: true, signal });
  }

  /** Validation pictures in order, the same in every epoch. @throws {PictureError} as `train` does */
  valid({ batchSize, from = 0, to = this.#valid.pictures.length, signal }: ValidPlan): AsyncGenerator<Batch, void, void> {
    const request = (step: number): Request => {
      const start = from + step * batchSize;
      return { side: this.#valid, indices: Int32Array.from({ length: Math.min(batchSize, to - start) }, (_, i) => start + i), step, training: null };
    };
    return this.#batches(0, stepCount(to - from, batchSize, false), request, { keepEmpty: false, signal });
  }

  /** Ends the threads once they have finished what they are at. Iterations under way fail. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Batches in order, `prefetch` under way beside the one that is awaited. However it ends, what waits is dropped. */
  async *#batches(first: number, end: number, request: (step: number) => Request, { keepEmpty, signal }: { keepEmpty: boolean; signal: AbortSignal | undefined }): AsyncGenerator<Batch, void, void> {
    const ended = new AbortController();
    const stop = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
    const underWay: Promise<Made>[] = [];
    let pixels = new Float32Array(0);
    try {
      for (let step = first, next = first; step < end; step++) {
        signal?.throwIfAborted();
        for (; next < end && next <= step + this.#options.prefetch; next++) underWay.push(quiet(this.#make(request(next), stop)));
        const { memory, rows, ...batch } = await unlessAborted(underWay.shift()!, signal);
        const length = rows.length * this.#rowLength;
        if (pixels.length < length) pixels = new Float32Array(length);
        this.#copyRows(memory, rows, pixels);
        this.#spare.push(memory);
        if (rows.length > 0 || keepEmpty) yield { pixels: pixels.subarray(0, length), rows: rows.length, ...batch };
      }
    } finally {
      ended.abort(new Error('Nobody waits for this batch any more.'));
    }
  }

  async #make({ side, indices: wanted, step, training }: Request, signal: AbortSignal): Promise<Made> {
    const indices = wanted.filter((index) => !side.bad.has(index));
    const memory = this.#memoryOf(indices.length * this.#rowLength * Float32Array.BYTES_PER_ELEMENT);
    const results = await Promise.all(
      parts(indices, PICTURES_PER_JOB).map(async (part, i) => {
        const result = await this.#pool.run(this.#job(side, part, training, memory, i * PICTURES_PER_JOB), signal);
        this.#learn(side, result);
        return result;
      }),
    );
    const bad = new Set(results.flatMap((result) => result.faults.map((fault) => fault.index)));
    const rows = [...indices.keys()].filter((row) => !bad.has(indices[row]!));
    const kept = Int32Array.from(rows, (row) => indices[row]!);
    return { memory, rows, labels: kept.map((index) => side.pictures[index]!.label), indices: kept, step };
  }

  get #rowLength(): number {
    return 3 * this.#options.imageSize ** 2;
  }

  /** One behind the other, to memory of this thread alone: native addons take no other. */
  #copyRows(memory: SharedArrayBuffer, rows: readonly number[], into: Float32Array): void {
    const batch = new Float32Array(memory), length = this.#rowLength;
    rows.forEach((row, to) => into.set(batch.subarray(row * length, (row + 1) * length), to * length));
  }

  /** At least so many bytes, of any content. */
  #memoryOf(bytes: number): SharedArrayBuffer {
    const place = this.#spare.findIndex((memory) => memory.byteLength >= bytes);
    return place >= 0 ? this.#spare.splice(place, 1)[0]! : new SharedArrayBuffer(bytes);
  }

  #job({ pictures, decoded }: Side, indices: Int32Array, training: Job['training'], batch: SharedArrayBuffer, firstRow: number): Job {
    const { imageSize, shorterSide, normalization } = this.#options;
    return { pictures: Array.from(indices, (index) => ({ index, path: pictures[index]!.path, place: placeOf(this.#folder, pictures[index]!.path), decoded: decoded.get(index) ?? null })), batch, firstRow, imageSize, shorterSide, normalization, training, keepDecoded: this.#room > 0 };
  }

  /** Keeps what was decoded while there is room, and notes what can't be. */
  #learn(side: Side, { decoded, faults }: JobResult): void {
    for (const [index, picture] of decoded) {
      if (side.decoded.has(index) || picture.data.byteLength > this.#room) continue;
      this.#room -= picture.data.byteLength;
      side.decoded.set(index, picture);
    }
    for (const fault of faults) this.#note(side, fault);
  }

  #note(side: Side, { index, fault, problem }: JobFault): void {
    const { path } = side.pictures[index]!;
    if (this.#options.onBadPicture === 'throw') throw inDataset(new PictureError(path, fault, problem), path);
    if (side.bad.has(index)) return;
    side.bad.add(index);
    this.#skipped.push({ path, reason: problem });
  }
}

/** A promise whose failure is seen by whoever awaits it, and by nobody when none does. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** What the promise brings, or the signal's reason as soon as it is aborted. */
async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function parts(indices: Int32Array, length: number): Int32Array[] {
  return Array.from({ length: Math.ceil(indices.length / length) }, (_, i) => indices.subarray(i * length, (i + 1) * length));
}
