import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '@chameleon/core';
import { type ChannelCredentials, type ClientDuplexStream, type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { FromWorker, ToWorker } from '../coordinator/protocol.js';
import { type Hello, type Welcome, type WorkRequest, type WorkResponse, WorkerServiceClient } from '../generated/chameleon/trainer/v1/trainer.js';
import { hostPort } from './address.js';

/** Where a coordinator is and how it is spoken with. */
export interface Target {
  host: string;
  port: number;
  credentials: ChannelCredentials;
  metadata: Metadata;
}

/** What was written leaves within this time; a coordinator that doesn't end its side is not waited for. */
const CLOSE_MS = 500;

/** Between two tries to reach a coordinator; doubled up to the second. */
const FIRST_RETRY_MS = 100, LAST_RETRY_MS = 1_000;

/** A stream on which the coordinator has said welcome. */
export interface Connection {
  client: WorkerServiceClient;
  welcome: Welcome;
  send(message: FromWorker): void;
  /** Calls back with each message, and once with how the stream ended. */
  listen(onMessage: (message: ToWorker) => void, onEnd: (error: ServiceError | null) => void): void;
  close(): void;
  /** Closes, and waits for a moment until what was said has arrived: for the end of a process. */
  finish(): Promise<void>;
}

/**
 * Tries to reach a coordinator until it answers.
 * @throws UserError when it refuses this worker, or nobody answers in time
 */
export async function connect(target: Target, hello: Hello, { patienceMs, signal }: { patienceMs: number; signal: AbortSignal }): Promise<Connection> {
  const untilMs = performance.now() + patienceMs;
  for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(2 * waitMs, LAST_RETRY_MS)) {
    signal.throwIfAborted();
    try {
      return await tryConnect(target, hello, Math.max(1_000, untilMs - performance.now()));
    } catch (error) {
      const { code, details, message } = error as ServiceError;
      if (code !== status.UNAVAILABLE && code !== status.DEADLINE_EXCEEDED && code !== status.CANCELLED) throw new UserError(`The coordinator ${hostPort(target)} refuses this worker: ${details || message}`, { cause: error });
      if (performance.now() + waitMs > untilMs) throw new UserError(`Nobody answers at ${hostPort(target)} (${details || message}). Is the coordinator running there, and is the port open? Both sides need TLS, or neither.`, { cause: error });
      await sleep(waitMs, undefined, { signal });
    }
  }
}

/** A client whose channel is its own and finds a coordinator again that was away. */
export const openClient = (target: Target): WorkerServiceClient => new WorkerServiceClient(hostPort(target), target.credentials, { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 5_000, 'grpc.enable_retries': 0, 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1_000, 'grpc.use_local_subchannel_pool': 1 });

async function tryConnect(target: Target, hello: Hello, withinMs: number): Promise<Connection> {
  const client = openClient(target);
  try {
    await new Promise<void>((resolve, reject) => client.waitForReady(Date.now() + withinMs, (error) => (error ? reject(Object.assign(error, { code: status.UNAVAILABLE })) : resolve())));
    const stream = client.work(target.metadata);
    const welcome = await sayHello(stream, hello, withinMs);
    return wrap(client, stream, welcome);
  } catch (error) {
    client.close();
    throw error;
  }
}

function sayHello(stream: ClientDuplexStream<WorkRequest, WorkResponse>, hello: Hello, withinMs: number): Promise<Welcome> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => stream.cancel(), withinMs);
    const settle = (act: () => void) => {
      clearTimeout(timer);
      stream.removeListener('error', onError).removeListener('data', onData);
      // A stream without a listener for its errors would end the process.
      stream.on('error', () => undefined);
      stream.pause();
      act();
    };
    const onError = (error: Error) => settle(() => reject(error));
    const onData = ({ message }: WorkResponse) => settle(() => (message?.$case === 'welcome' ? resolve(message.value) : reject(new Error(`The coordinator said ${message?.$case ?? 'nothing'} instead of welcome.`))));
    stream.on('error', onError).on('data', onData);
    stream.write({ message: { $case: 'hello', value: hello } });
  });
}

function wrap(client: WorkerServiceClient, stream: ClientDuplexStream<WorkRequest, WorkResponse>, welcome: Welcome): Connection {
  let open = true;
  const connection: Connection = {
    client,
    welcome,
    send: (message) => void (open && stream.write({ message })),
    listen: (onMessage, onEnd) => {
      const ended = (error: ServiceError | null) => {
        if (!open) return;
        open = false;
        onEnd(error);
      };
      stream.on('data', ({ message }: WorkResponse) => message && onMessage(message)).on('error', ended).on('end', () => ended(null));
      stream.resume();
    },
    close: () => {
      open = false;
      stream.end();
      setTimeout(() => {
        stream.cancel();
        client.close();
      }, CLOSE_MS).unref();
    },
    finish: () => {
      const ended = new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, CLOSE_MS);
        stream.once('close', () => (clearTimeout(timer), resolve())).once('end', () => (clearTimeout(timer), resolve()));
        stream.resume();
      });
      connection.close();
      return ended;
    },
  };
  return connection;
}
