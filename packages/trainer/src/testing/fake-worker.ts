import { codeDigest } from '../code-digest.js';
import { PROTOCOL, type FromWorker, type ToWorker } from '../coordinator/protocol.js';
import { channelCredentials, tokenMetadata } from '../coordinator/security.js';
import type { Ended_Reason, Hello, Ready } from '../generated/chameleon/trainer/v1/trainer.js';
import { VERSION } from '../machine.js';
import type { Progress } from '../membership/membership.js';
import { type Connection, connect } from '../worker/connection.js';

/** A worker that speaks the protocol over a real stream and computes nothing. */
export interface FakeWorker {
  readonly heard: ToWorker[];
  readonly connection: Connection;
  /** How its stream ended, as a sentence; null while it lasts. */
  ended(): string | null;
  ready(more?: Partial<Ready>): void;
  step(generation: number, step: number): void;
  end(generation: number, reason: Ended_Reason, progress: Progress, finishJson?: string): void;
  leave(): void;
  say(message: FromWorker): void;
  /** The last message of a kind. */
  last<Kind extends ToWorker['$case']>(kind: Kind): Extract<ToWorker, { $case: Kind }>['value'] | undefined;
}

export interface FakeOptions {
  port: number;
  id: string;
  token?: string | null;
  hello?: Partial<Hello>;
  patienceMs?: number;
}

export async function fakeWorker({ port, id, token = null, hello = {}, patienceMs = 5_000 }: FakeOptions): Promise<FakeWorker> {
  const said: Hello = { protocol: PROTOCOL, version: VERSION, codeSha256: codeDigest(), workerId: id, node: id, runId: '', configSha256: '', generation: 0, ...hello };
  const connection = await connect({ host: '127.0.0.1', port, credentials: await channelCredentials(null), metadata: tokenMetadata(token) }, said, { patienceMs, signal: new AbortController().signal });
  const heard: ToWorker[] = [];
  let end: string | null = null;
  connection.listen((message) => void heard.push(message), (error) => (end = error?.details ?? 'ended'));
  const beat = setInterval(() => (end === null ? connection.send({ $case: 'heartbeat', value: { generation: 0, position: undefined, phase: 'waiting', samples: 0, phaseSeconds: {}, memoryBytes: 0, gpus: [] } }) : clearInterval(beat)), 50);
  beat.unref();
  return {
    heard, connection,
    ended: () => end,
    ready: (more = {}) => connection.send({ $case: 'ready', value: { address: '127.0.0.1', port: 4000, seesRunDirectory: true, position: { step: 0, epoch: 0 }, inMemory: false, cores: '', ...more } }),
    step: (generation, step) => connection.send({ $case: 'facts', value: { generation, json: [stepFact(step)] } }),
    end: (generation, reason, position, finishJson = '') => connection.send({ $case: 'ended', value: { generation, reason, detail: '', position, port: 4001, finishJson, recentFactsJson: [] } }),
    leave: () => {
      clearInterval(beat);
      connection.client.close();
      connection.close();
    },
    say: (message) => connection.send(message),
    last: <Kind extends ToWorker['$case']>(kind: Kind) => heard.findLast((message): message is Extract<ToWorker, { $case: Kind }> => message.$case === kind)?.value as never,
  };
}

export const stepFact = (step: number): string => JSON.stringify({ type: 'step', step, epoch: 0, loss: 1, correct: 1, pictures: 8, samples: step, learningRates: { head: 0.001 }, dataSeconds: 0, computeSeconds: 0.1 });
export const finishFact = (step: number): string => JSON.stringify({ type: 'finish', step, validAccuracy: 0.5, seconds: 0, reason: 'done' });
