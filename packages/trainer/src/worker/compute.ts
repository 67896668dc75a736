import { parentPort, workerData } from 'node:worker_threads';
import { UserError, messageOf } from '@chameleon/core';
import { PictureError } from '@chameleon/data';
import { setBackend } from '@tensorflow/tfjs-core';
import { StepOutOfMemory } from '../batch-that-fits.js';
import { openExchange } from '../exchange/exchange.js';
import type { AskedChange } from '../live/change.js';
import { Gauges } from './gauges.js';
import { ExchangeBroken, broken, guarded } from './guarded-exchange.js';
import type { Assignment, ComputeReply, ComputeRequest, ComputeSetup, GenerationEnd } from './messages.js';
import { Replica } from './replica.js';

/** The compute thread: one replica, and one generation after another. What it says goes to the network thread. */

const port = parentPort!;
const setup = workerData as ComputeSetup;
const gauges = new Gauges(setup.gauges);
const say = (reply: ComputeReply) => port.postMessage(reply);

/** What the network thread asks for while a generation lasts. */
interface Underway {
  number: number;
  pause: AbortController;
  given: AbortController;
  checkpoints: number;
  stop: boolean;
}
let underway: Underway | null = null;
/** What was asked to be changed of the run, in order. */
let changes: readonly AskedChange[] = [];

async function openReplica(): Promise<Replica> {
  const module = (await import(setup.engine.module)) as { setThreads?: (count: number) => void; useDevice?: (name: 'cuda') => void };
  if (setup.exchange === 'nccl') useCuda(module);
  if (!(await setBackend(setup.engine.backend))) throw new UserError(`The backend ${setup.engine.backend} does not start. \`chameleon doctor\` says why.`);
  if (setup.threads !== null) module.setThreads?.(setup.threads);
  return Replica.open(setup, gauges);
}

/** NCCL sums on the device that the model computes on. */
function useCuda({ useDevice }: { useDevice?: (name: 'cuda') => void }): void {
  try {
    if (useDevice === undefined) throw new Error(`the backend ${setup.engine.backend} computes on none`);
    useDevice('cuda');
  } catch (error) {
    throw new UserError(`The exchange "nccl" wants a CUDA device on every worker: ${messageOf(error)}. Choose --exchange gloo or grpc where there is none.`, { cause: error });
  }
}

async function runGeneration(replica: Replica, assignment: Assignment): Promise<void> {
  const own: Underway = { number: assignment.number, pause: new AbortController(), given: new AbortController(), checkpoints: 0, stop: false };
  underway = own;
  changes = assignment.changes;
  let end: GenerationEnd;
  try {
    end = await trainGeneration(replica, assignment, own);
  } catch (error) {
    // Another machine may have more.
    if (error instanceof StepOutOfMemory) return say({ kind: 'crashed', message: error.message });
    if (error instanceof ExchangeBroken) end = { reason: 'abandoned', detail: error.message };
    else if (error instanceof UserError || error instanceof PictureError) end = { reason: 'failed', detail: error.message };
    else return say({ kind: 'crashed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
  underway = null;
  gauges.enter('waiting');
  say({ kind: 'ended', generation: assignment.number, progress: await replica.progress(), end });
}

async function trainGeneration(replica: Replica, assignment: Assignment, own: Underway): Promise<GenerationEnd> {
  const { number, rank, split, meeting } = assignment;
  gauges.enter('meeting');
  const exchange = guarded(
    await openExchange(setup.exchange, { rank, worldSize: split.length, meeting: { ...meeting, prefix: `${setup.runId}/${number}` }, address: setup.address, timeoutMs: setup.exchangeTimeoutMs, signal: own.given.signal, isGivenUp: () => gauges.isAbandoned(number) }).catch((error: unknown) => {
      throw broken(error);
    }),
    (by) => gauges.exchanging(by),
  );
  const abort = () => exchange.abort(messageOf(own.given.signal.reason));
  own.given.signal.addEventListener('abort', abort);
  try {
    const end = await replica.train(assignment, {
      exchange,
      signal: own.pause.signal,
      giveUp: own.given.signal,
      isStop: () => own.stop,
      wantsCheckpoint: () => own.checkpoints > 0 && own.checkpoints-- > 0,
      askedChanges: () => changes,
      emit: (fact) => say({ kind: 'fact', generation: number, fact }),
    });
    await exchange.close();
    return end;
  } catch (error) {
    exchange.abort(messageOf(error));
    await exchange.close().catch(() => undefined);
    throw error;
  } finally {
    own.given.signal.removeEventListener('abort', abort);
  }
}

function answer(replica: Replica, request: ComputeRequest): void {
  const current = 'generation' in request && underway?.number === request.generation ? underway : null;
  switch (request.kind) {
    case 'generation':
      return void runGeneration(replica, request);
    case 'pause':
      if (current) current.stop ||= request.stop;
      return current?.pause.abort();
    case 'abandon':
      // A rank that is alone has no exchange to give up: it stops after its step.
      current?.given.abort(new ExchangeBroken(request.reason));
      return current?.pause.abort();
    case 'checkpoint':
      if (current) current.checkpoints++;
      return;
    case 'changes':
      changes = request.changes;
      return;
    case 'close':
      port.close();
      return void replica[Symbol.asyncDispose]();
    default:
      return request satisfies never;
  }
}

try {
  const replica = await openReplica();
  port.on('message', (request: ComputeRequest) => answer(replica, request));
  say({ kind: 'ready', progress: await replica.progress() });
} catch (error) {
  say({ kind: 'refused', message: messageOf(error) });
}
