import { randomUUID } from 'node:crypto';
import { UserError } from '@chameleon/core';
import { type ServiceError, status } from '@grpc/grpc-js';
import { type Run, RunServiceClient, type WatchRunResponse } from '../generated/chameleon/trainer/v1/trainer.js';
import { hostPort, parseHostPort } from '../worker/address.js';
import { type Security, channelCredentials, tokenMetadata } from './security.js';

/** How long a coordinator may take to answer a person. */
const DEADLINE_MS = 10_000;

/** A coordinator as people and tools ask it. `run` is a run's name; empty: the coordinator's only one. */
export interface RunClient extends Disposable {
  list(): Promise<Run[]>;
  get(run: string): Promise<Run>;
  stop(run: string): Promise<Run>;
  checkpoint(run: string): Promise<Run>;
  /** Lets everything learn from a step on that all ranks take together. */
  unfreeze(run: string): Promise<Run>;
  /** Sets a group's learning rate from such a step on. */
  setRate(run: string, group: string, learningRate: number): Promise<Run>;
  watch(run: string, signal: AbortSignal): AsyncGenerator<NonNullable<WatchRunResponse['update']>, void, void>;
}

type Answer = (error: ServiceError | null, value: { run?: Run | undefined }) => void;

/** Every call throws a UserError that says why the coordinator didn't do it. */
export async function openRunClient(coordinator: string, { token, tls }: Omit<Security, 'insecure'>): Promise<RunClient> {
  const address = hostPort(parseHostPort(coordinator));
  const client = new RunServiceClient(address, await channelCredentials(tls));
  const metadata = tokenMetadata(token);
  const options = () => ({ deadline: Date.now() + DEADLINE_MS });
  const explain = (error: ServiceError) => {
    const nobody = error.code === status.UNAVAILABLE || error.code === status.DEADLINE_EXCEEDED;
    return new UserError(nobody ? `No coordinator answers at ${address} (${error.details}). Is it running there?` : `The coordinator at ${address}: ${error.details}`, { cause: error });
  };
  const ask = (call: (answer: Answer) => void) => new Promise<Run>((resolve, reject) => call((error, value) => (error ? reject(explain(error)) : resolve(value.run!))));
  return {
    list: () => new Promise((resolve, reject) => client.listRuns({}, metadata, options(), (error, value) => (error ? reject(explain(error)) : resolve(value.runs)))),
    get: (runId) => ask((answer) => client.getRun({ runId }, metadata, options(), answer)),
    stop: (runId) => ask((answer) => client.stopRun({ runId }, metadata, options(), answer)),
    checkpoint: (runId) => ask((answer) => client.checkpointRun({ runId }, metadata, options(), answer)),
    unfreeze: (runId) => ask((answer) => client.unfreezeRun({ runId, requestId: randomUUID() }, metadata, options(), answer)),
    setRate: (runId, group, learningRate) => ask((answer) => client.setRate({ runId, requestId: randomUUID(), group, learningRate }, metadata, options(), answer)),
    async *watch(runId, signal) {
      const stream = client.watchRun({ runId }, metadata);
      const cancel = () => stream.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      try {
        for await (const { update } of stream as AsyncIterable<WatchRunResponse>) if (update) yield update;
      } catch (error) {
        if (!signal.aborted) throw explain(error as ServiceError);
      } finally {
        signal.removeEventListener('abort', cancel);
        stream.cancel();
      }
    },
    [Symbol.dispose]: () => client.close(),
  };
}
