import { type Hash, createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '@chameleon/core';
import { type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { FileWanted, GetFilesResponse, WorkerServiceClient } from '../generated/chameleon/trainer/v1/trainer.js';
import { explainCache } from './data-cache.js';

/** A file that is to be fetched from the coordinator's machine. */
export interface NeededFile {
  what: NonNullable<FileWanted['what']>;
  /** What messages call it. */
  name: string;
  /** Where it goes. */
  path: string;
  bytes: number;
  sha256: string;
}

export interface FetchOptions {
  client: WorkerServiceClient;
  metadata: Metadata;
  runId: string;
  /** How long nothing may come before the coordinator is given up. */
  patienceMs: number;
  signal: AbortSignal;
  onProgress: (bytes: number) => void;
}

/** Calls at a time: enough to fill a link of a rack over a round trip, few enough to leave the coordinator's turns to others. */
const LANES = 4;
/** Small files share a call. */
const BATCH_FILES = 200, BATCH_BYTES = 32e6;
/** Times that a file may come with other bytes before it is given up. */
const MAX_WRONG = 3;
const CALL_MS = 600_000;
const FIRST_RETRY_MS = 100, LAST_RETRY_MS = 2_000;
/** What another try may mend: the coordinator is away or busy, or a connection broke. */
const PASSING: readonly (status | undefined)[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED, status.RESOURCE_EXHAUSTED, status.INTERNAL, status.UNKNOWN];

/**
 * Fetches files, each written beside its place and renamed once its digest is the one of the manifest. What was cut off goes on
 * where it stopped, in this process or in a later one. They aren't synced: whoever opens them later checks their digests again.
 * @throws UserError that names the file and what is wrong with it
 */
export async function fetchFiles(files: readonly NeededFile[], options: FetchOptions): Promise<void> {
  const batches = batchesOf(files);
  const failed = new AbortController();
  const lane = { ...options, signal: AbortSignal.any([options.signal, failed.signal]), life: { heardMs: performance.now() } };
  const work = async () => {
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) await fetchBatch(batch, lane);
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(LANES, batches.length) }, () => work().catch((error: unknown) => {
    failed.abort(error);
    throw error;
  })));
  options.signal.throwIfAborted();
  if (ended.some(({ status: how }) => how === 'rejected')) throw failed.signal.reason;
}

function batchesOf(files: readonly NeededFile[]): NeededFile[][] {
  const batches: NeededFile[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const file of files) {
    if (bytes + file.bytes > BATCH_BYTES || batches.at(-1)!.length >= BATCH_FILES) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)!.push(file);
    bytes += file.bytes;
  }
  return batches;
}

interface LaneOptions extends FetchOptions {
  /** When any lane was last sent a part. */
  life: { heardMs: number };
}

async function fetchBatch(batch: readonly NeededFile[], options: LaneOptions): Promise<void> {
  const left = new Set(batch), wrong = new Map<NeededFile, number>();
  for (let waitMs = FIRST_RETRY_MS; left.size > 0; ) {
    const before = left.size;
    try {
      await fetchOnce([...left], left, wrong, options);
      if (left.size > 0 && wrong.size === 0) throw Object.assign(new Error('the call ended early'), { code: status.UNAVAILABLE, details: 'the call ended early' });
    } catch (error) {
      options.signal.throwIfAborted();
      const { code, details } = error as ServiceError;
      if (error instanceof UserError || code === undefined || !(code in status)) throw error instanceof Error && (error as NodeJS.ErrnoException).syscall ? explainCache(error, dirname(batch[0]!.path)) : error;
      if (!PASSING.includes(code)) throw new UserError(`The coordinator does not hand its files out: ${details}`, { cause: error });
      if (performance.now() - options.life.heardMs > options.patienceMs) throw new UserError(`The coordinator stopped sending the files of this run (${details}), ${left.size} of this part are left. What came is kept: start the worker again once the coordinator answers.`, { cause: error });
      if (left.size < before) waitMs = FIRST_RETRY_MS;
      await sleep(waitMs, undefined, { signal: options.signal });
      waitMs = Math.min(2 * waitMs, LAST_RETRY_MS);
    }
  }
}

/** One call for all that is left. */
async function fetchOnce(asked: readonly NeededFile[], left: Set<NeededFile>, wrong: Map<NeededFile, number>, { client, metadata, runId, signal, onProgress, life }: LaneOptions): Promise<void> {
  const offsets = await Promise.all(asked.map(partialBytes));
  const call = client.getFiles({ runId, files: asked.map(({ what }, i) => ({ what, offset: offsets[i]! })) }, metadata, { deadline: Date.now() + CALL_MS });
  const cancel = () => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  let current = null as { file: NeededFile; arrival: Arrival } | null;
  try {
    for await (const { file: index, part } of call as AsyncIterable<GetFilesResponse>) {
      life.heardMs = performance.now();
      const file = asked[index];
      if (!file) throw new Error(`the coordinator sent file ${index} of ${asked.length}`);
      if (current?.file !== file) {
        await current?.arrival.close();
        current = { file, arrival: await Arrival.begin(file) };
      }
      await current.arrival.add(part);
      onProgress(part.length);
      if (!current.arrival.isWhole) continue;
      if (await current.arrival.finish()) left.delete(file);
      else countWrong(file, wrong);
      current = null;
    }
  } finally {
    signal.removeEventListener('abort', cancel);
    call.on('error', () => undefined);
    call.cancel();
    await current?.arrival.close();
  }
}

function countWrong(file: NeededFile, wrong: Map<NeededFile, number>): void {
  const times = (wrong.get(file) ?? 0) + 1;
  wrong.set(file, times);
  if (times >= MAX_WRONG) throw new UserError(`${file.name} came ${times} times with other bytes than the run began with. It was changed on the coordinator's machine, or something damages what is sent. Restore it there, or start a new run.`);
}

const partialOf = ({ path }: NeededFile): string => `${path}.partial`;

/** What an earlier try left of a file; too much of it is of no use. */
async function partialBytes(file: NeededFile): Promise<number> {
  const there = await stat(partialOf(file)).catch(() => null);
  if (!there) return 0;
  if (there.size < file.bytes) return there.size;
  await rm(partialOf(file), { force: true });
  return 0;
}

/** A file as it comes. */
class Arrival {
  private constructor(private readonly file: NeededFile, private readonly handle: FileHandle, private readonly hash: Hash, private received: number) {}

  static async begin(file: NeededFile): Promise<Arrival> {
    await mkdir(dirname(file.path), { recursive: true });
    const handle = await open(partialOf(file), 'a');
    const hash = createHash('sha256');
    const { size } = await handle.stat();
    if (size > 0) for await (const chunk of createReadStream(partialOf(file)) as AsyncIterable<Buffer>) hash.update(chunk);
    return new Arrival(file, handle, hash, size);
  }

  get isWhole(): boolean {
    return this.received >= this.file.bytes;
  }

  async add(part: Uint8Array): Promise<void> {
    this.hash.update(part);
    this.received += part.length;
    // Not `write`, which may write less than all, as a full disk's last one does.
    await this.handle.writeFile(part);
  }

  /** Puts the file in its place; false where it is another than was wanted. */
  async finish(): Promise<boolean> {
    await this.handle.close();
    const isSame = this.received === this.file.bytes && this.hash.digest('hex') === this.file.sha256;
    if (isSame) await rename(partialOf(this.file), this.file.path);
    else await rm(partialOf(this.file), { force: true });
    return isSame;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
