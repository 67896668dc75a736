import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '@chameleon/core';
import { ExchangeAborted } from './aborted.js';
import { type Party, type PartyOptions, meetParty } from './grpc-party.js';
import type { CallKind } from './reducer.js';

/**
 * The thread of the exchange over gRPC: sockets and sums, away from the thread that computes, which may be busy, or blocked by a sum that it
 * waits for.
 */

export interface ThreadSetup {
  options: PartyOptions;
  port: MessagePort;
  /** [0] counts the answers, so that a blocked thread can wait for one. */
  answered: Int32Array;
}

export type ThreadRequest =
  | { do: 'call'; id: number; kind: CallKind; root: number; bytes: Uint8Array }
  | { do: 'abort'; reason: string }
  /** All have made their last call: lets go of the connections. */
  | { do: 'leave'; id: number };

/** `id` -1: the meeting. */
export interface ThreadAnswer { id: number; bytes: Uint8Array; error: string | null }

const { options, port, answered } = workerData as ThreadSetup;
const given = new AbortController();

function answer(id: number, bytes: Uint8Array, error: string | null): void {
  // What comes may be a part of a larger buffer: a copy of its own can be handed over.
  const own = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice();
  port.postMessage({ id, bytes: own, error } satisfies ThreadAnswer, own.byteLength > 0 ? [own.buffer as ArrayBuffer] : []);
  Atomics.add(answered, 0, 1);
  Atomics.notify(answered, 0);
}

async function carryOut(party: Party, request: Exclude<ThreadRequest, { do: 'abort' }>): Promise<void> {
  try {
    if (request.do === 'call') answer(request.id, await party.calls.make(request.kind, request.bytes, request.root), null);
    else {
      await party.leave();
      answer(request.id, new Uint8Array(), null);
      end(party, 'The exchange is closed.');
    }
  } catch (error) {
    answer(request.id, new Uint8Array(), messageOf(error));
  }
}

function end(party: Party | null, reason: string): void {
  party?.calls.fail(new ExchangeAborted(reason));
  port.close();
  parentPort?.close();
}

let party: Party | null = null;
port.on('message', (request: ThreadRequest) => {
  if (request.do !== 'abort') return void carryOut(party!, request);
  given.abort(new Error(request.reason));
  end(party, `The exchange was given up: ${request.reason}`);
});
try {
  party = await meetParty(options, given.signal);
  answer(-1, new Uint8Array(), null);
} catch (error) {
  answer(-1, new Uint8Array(), messageOf(error));
  end(null, '');
}
