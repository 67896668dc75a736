import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { INDEX_NAME, type Manifest, type ShardIndex } from '@chameleon/data';
import { type ServerWritableStream, status } from '@grpc/grpc-js';
import type { FileWanted, GetFilesRequest, GetFilesResponse } from '../generated/chameleon/trainer/v1/trainer.js';
import { Refusal } from './protocol.js';

/**
 * Hands the run's pictures and start weights to workers that lack them; pictures in shards go shard by shard. What is asked for
 * is a number in the manifest or in the shards' index, never a path. At most `STREAMS` calls are answered at a time and each waits until its reader has read, so a thousand workers that
 * come at once cost the coordinator a bounded amount of memory, and its heartbeats little time.
 */

export interface FileSource {
  runId: string;
  /** Where the manifest's files lie, or the shards. */
  root: string;
  manifest: Manifest;
  /** Null where each picture is a file. `bytes` is the index's own length. */
  shards: { index: ShardIndex; bytes: number } | null;
  weights: { path: string; bytes: number } | null;
}

interface Served {
  path: string;
  /** What messages call it. */
  name: string;
  bytes: number;
}

const PART_BYTES = 1 << 18;
const STREAMS = 16;
/** Calls that may wait for their turn; more are told to come again. */
const WAITING = 4_096;
/** Files of one call. */
const MAX_FILES = 10_000;

export function fileService(source: FileSource): (call: ServerWritableStream<GetFilesRequest, GetFilesResponse>) => void {
  const turns = new Turns(STREAMS, WAITING);
  return (call) => {
    const gone = new AbortController();
    const leave = () => gone.abort(new Error('the caller is gone'));
    call.on('cancelled', leave).on('close', leave).on('error', leave);
    answer(source, call, turns, gone.signal).then(
      () => call.end(),
      (error: unknown) => {
        if (gone.signal.aborted) return;
        call.emit('error', error instanceof Refusal ? { code: error.code, details: error.message } : { code: status.INTERNAL, details: String(error) });
      },
    );
  };
}

async function answer(source: FileSource, call: ServerWritableStream<GetFilesRequest, GetFilesResponse>, turns: Turns, signal: AbortSignal): Promise<void> {
  const { runId, files } = call.request;
  if (runId !== source.runId) throw new Refusal(status.NOT_FOUND, `This coordinator holds the run ${source.runId}, not ${runId}.`);
  if (files.length > MAX_FILES) throw new Refusal(status.INVALID_ARGUMENT, `One call may ask for ${MAX_FILES} files, not ${files.length}.`);
  const wanted = files.map((file) => ({ offset: file.offset, served: find(source, file) }));
  using _turn = await turns.take(signal);
  for (const [file, { offset, served }] of wanted.entries()) {
    for await (const part of partsOf(served, offset)) {
      signal.throwIfAborted();
      if (!call.write({ file, part })) await once(call, 'drain', { signal });
    }
  }
}

function find(source: FileSource, { what, offset }: FileWanted): Served {
  const served = servedAs(source, what);
  if (!served) throw new Refusal(status.NOT_FOUND, 'The run has no such file.');
  if (offset > served.bytes) throw new Refusal(status.OUT_OF_RANGE, `${served.name} has ${served.bytes} bytes; from ${offset} on there is nothing.`);
  return served;
}

function servedAs({ root, manifest, shards, weights }: FileSource, what: FileWanted['what']): Served | null {
  const inRoot = (name: string, bytes: number): Served => ({ path: join(root, name), name, bytes });
  switch (what?.$case) {
    case 'picture': {
      const picture = shards ? undefined : manifest.files[what.value];
      return picture ? inRoot(picture.path, picture.bytes) : null;
    }
    case 'shardIndex':
      return shards && inRoot(INDEX_NAME, shards.bytes);
    case 'shard': {
      const shard = shards?.index.shards[what.value];
      return shard ? inRoot(shard.file, shard.bytes) : null;
    }
    case 'startWeights':
      return weights && { ...weights, name: 'the start weights' };
    case undefined:
      return null;
    default:
      return what satisfies never;
  }
}

/** A file's bytes from `offset` on; at least one part, which may be empty. @throws Refusal when it is not the file that the run began with */
async function* partsOf({ path, name, bytes }: Served, offset: number): AsyncGenerator<Buffer, void, void> {
  await using file = await openServed(path, name);
  const { size } = await file.stat();
  if (size !== bytes) throw new Refusal(status.DATA_LOSS, `${name} was changed on the coordinator's machine since the run began: it has ${size} bytes instead of ${bytes}. Restore it, or start a new run.`);
  let at = offset;
  do {
    const part = Buffer.allocUnsafe(Math.min(PART_BYTES, bytes - at));
    const { bytesRead } = await file.read(part, 0, part.length, at);
    if (bytesRead === 0 && part.length > 0) throw new Refusal(status.DATA_LOSS, `${name} was cut short on the coordinator's machine while it was read.`);
    at += bytesRead;
    yield part.subarray(0, bytesRead);
  } while (at < bytes);
}

async function openServed(path: string, name: string): Promise<FileHandle> {
  return open(path).catch((error: unknown) => {
    throw new Refusal(status.DATA_LOSS, `${name} can't be read on the coordinator's machine any more (${(error as NodeJS.ErrnoException).code ?? String(error)}). Restore it, or start a new run.`);
  });
}

/** A bounded number of turns, in the order in which they were asked for. */
class Turns {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(count: number, private readonly maxWaiting: number) {
    this.#free = count;
  }

  async take(signal: AbortSignal): Promise<Disposable> {
    if (this.#free === 0) {
      if (this.#waiting.length >= this.maxWaiting) throw new Refusal(status.RESOURCE_EXHAUSTED, 'Too many workers fetch files at once. Try again.');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#free--;
    }
    const turn = { [Symbol.dispose]: () => this.#pass() };
    if (!signal.aborted) return turn;
    turn[Symbol.dispose]();
    throw signal.reason;
  }

  #pass(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}
