import { readFileSync } from 'node:fs';
import { messageOf } from '@chameleon/core';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { type ServerDuplexStream, type ServerUnaryCall, type ServerWritableStream, type sendUnaryData, status } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import type { RunEvent } from '../events.js';
import type { GetManifestRequest, GetManifestResponse, Run, RunServiceServer, SetRateRequest, UnfreezeRunRequest, WatchRunRequest, WatchRunResponse, WorkRequest, WorkResponse, WorkerServiceServer } from '../generated/chameleon/trainer/v1/trainer.js';
import type { Coordinator, Session } from './coordinator.js';
import { type FileSource, fileService } from './file-service.js';
import { Refusal, type WorkerLink } from './protocol.js';

/** The coordinator's gRPC services: what comes is handed on, what is refused becomes a status. */

/** Below gRPC's usual limit of 4 MB. */
const PART_BYTES = 1 << 20;
/** How long a new stream may stay silent before its hello. */
const HELLO_MS = 10_000;
/** Messages that may wait for a watcher that doesn't read; then it is let go. */
const WATCH_BACKLOG = 10_000;

export function workerService(coordinator: Coordinator, manifest: Uint8Array, files: FileSource): WorkerServiceServer {
  return {
    work: (call: ServerDuplexStream<WorkRequest, WorkResponse>) => serveWorker(coordinator, call),
    getManifest: (call: ServerWritableStream<GetManifestRequest, GetManifestResponse>) => {
      for (let at = 0; at < manifest.length; at += PART_BYTES) call.write({ part: Buffer.from(manifest.subarray(at, at + PART_BYTES)) });
      call.end();
    },
    getFiles: fileService(files),
  };
}

function serveWorker(coordinator: Coordinator, call: ServerDuplexStream<WorkRequest, WorkResponse>): void {
  let session: Session | null = null;
  let over = false;
  const refuse = (error: unknown) => {
    over = true;
    if (error instanceof Refusal) call.emit('error', { code: error.code, details: error.message });
    else call.emit('error', { code: status.INVALID_ARGUMENT, details: `The message can't be understood: ${messageOf(error)}` });
  };
  const link: WorkerLink = {
    send: (message) => over || call.write({ message }),
    close: (refusal) => {
      if (over) return;
      if (refusal) return refuse(refusal);
      over = true;
      call.end();
    },
  };
  const silent = setTimeout(() => link.close(new Refusal(status.DEADLINE_EXCEEDED, 'No hello came.')), HELLO_MS);
  call.on('data', ({ message }: WorkRequest) => {
    if (over) return;
    try {
      if (!message) throw new Refusal(status.INVALID_ARGUMENT, 'A message without content.');
      if (session) return coordinator.receive(session, message);
      clearTimeout(silent);
      if (message.$case !== 'hello') throw new Refusal(status.FAILED_PRECONDITION, 'A worker says hello first.');
      session = coordinator.connect(message.value, link);
    } catch (error) {
      refuse(error);
      if (session) coordinator.disconnected(session);
    }
  });
  const gone = () => {
    clearTimeout(silent);
    over = true;
    if (session) coordinator.disconnected(session);
  };
  call.on('end', () => {
    link.close();
    gone();
  });
  call.on('cancelled', gone).on('error', gone).on('close', gone);
}

/** Run facts as they are written down, for those who watch. */
export class FactStream {
  readonly #listeners = new Set<(event: RunEvent) => void>();

  publish(event: RunEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  subscribe(listener: (event: RunEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

export function runService(coordinator: Coordinator, facts: FactStream): RunServiceServer {
  const requireRun = (named: string) => {
    const { id } = coordinator.parts.run;
    if (named !== '' && named !== id && named !== 'last') throw new Refusal(status.NOT_FOUND, `This coordinator holds the run ${id}, not ${named}.`);
  };
  const unary = <Request extends { runId: string }>(act: (request: Request) => void) => (call: ServerUnaryCall<Request, { run: Run | undefined }>, answer: sendUnaryData<{ run: Run | undefined }>) => {
    try {
      requireRun(call.request.runId);
      act(call.request);
      answer(null, { run: coordinator.describe() });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      answer({ code: error.code, details: error.message });
    }
  };
  return {
    listRuns: (_, answer) => answer(null, { runs: [coordinator.describe()] }),
    getRun: unary(() => undefined),
    stopRun: unary(() => coordinator.stop('somebody stopped the run')),
    checkpointRun: unary(() => coordinator.checkpoint()),
    unfreezeRun: unary(({ requestId }: UnfreezeRunRequest) => coordinator.change(requestId, { kind: 'unfreeze' })),
    setRate: unary(({ requestId, group, learningRate }: SetRateRequest) => coordinator.change(requestId, { kind: 'set-rate', group, learningRate })),
    watchRun: (call: ServerWritableStream<WatchRunRequest, WatchRunResponse>) => {
      try {
        requireRun(call.request.runId);
      } catch (error) {
        const { code, message } = error as Refusal;
        call.emit('error', { code, details: message });
        return;
      }
      serveWatcher(coordinator, facts, call);
    },
  };
}

function serveWatcher(coordinator: Coordinator, facts: FactStream, call: ServerWritableStream<WatchRunRequest, WatchRunResponse>): void {
  const write = (update: WatchRunResponse['update']) => {
    if (call.writableLength > WATCH_BACKLOG) return call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'The watcher reads too slowly.' });
    return call.write({ update });
  };
  const unsubscribe = [
    coordinator.watch((run) => {
      write({ $case: 'run', value: run });
      if (run.state === 'ended') call.end();
    }),
    facts.subscribe((event) => void write({ $case: 'factJson', value: JSON.stringify(event) })),
  ];
  const end = () => unsubscribe.forEach((stop) => stop());
  call.on('cancelled', end).on('close', end).on('error', end);
  write({ $case: 'run', value: coordinator.describe() });
  if (coordinator.state === 'ended') call.end();
}

/** Tells tools like grpcurl what there is to call. */
export function reflectionService(): ReflectionService {
  const descriptors = readFileSync(new URL('../../proto/trainer.binpb', import.meta.url));
  const reader = new BinaryReader(descriptors);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType);
  }
  return new ReflectionService({ 'chameleon.trainer.v1': { fileDescriptorProtos: files } as never });
}
