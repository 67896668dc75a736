import type { Manifest } from '@chameleon/data';
import type { TrainConfig } from '../config.js';
import type { NewEvent } from '../events.js';
import type { ExchangeKind } from '../exchange/exchange.js';
import type { AskedChange } from '../live/change.js';
import type { Progress } from '../membership/membership.js';
import type { Split } from '../membership/split.js';

/** What crosses between a worker's network thread and its compute thread. */

/** A TensorFlow.js backend by the module that registers it. */
export interface EngineChoice {
  /** A module's name or URL: importing it registers the backend; where it exports `setThreads`, that is called with `threads`, and `useDevice` with `cuda` where gradients travel by NCCL. */
  module: string;
  /** What TF.js calls the backend. */
  backend: string;
}

export interface ComputeSetup {
  engine: EngineChoice;
  /** Threads that an operator may use; null leaves the backend's own choice. */
  threads: number | null;
  /** Threads that decode pictures. */
  loaderThreads: number;
  config: TrainConfig;
  manifest: Manifest;
  runId: string;
  /** Where the run directory lies; null where this machine can't write into it. */
  runDirectory: string | null;
  exchange: ExchangeKind;
  exchangeTimeoutMs: number;
  /** The address of this machine that the others reach. */
  address: string;
  gauges: SharedArrayBuffer;
}

/** A generation as one of its ranks sees it. */
export interface Assignment {
  number: number;
  rank: number;
  split: Split;
  /** The rank whose state all take over. */
  holder: number;
  meeting: { host: string; port: number };
  changes: readonly AskedChange[];
}

export type ComputeRequest =
  | ({ kind: 'generation' } & Assignment)
  | { kind: 'pause'; generation: number; stop: boolean }
  | { kind: 'abandon'; generation: number; reason: string }
  | { kind: 'checkpoint'; generation: number }
  | { kind: 'changes'; changes: readonly AskedChange[] }
  | { kind: 'close' };

/** How a generation ended for this rank. */
export type GenerationEnd =
  | { reason: 'paused' | 'done'; finish: Extract<NewEvent, { type: 'finish' }> | null }
  /** The exchange was given up, or broke. */
  | { reason: 'abandoned'; detail: string }
  /** What would go wrong again on any machine: the run ends. */
  | { reason: 'failed'; detail: string };

export type ComputeReply =
  | { kind: 'ready'; progress: Progress }
  | { kind: 'refused'; message: string }
  | { kind: 'fact'; generation: number; fact: NewEvent }
  | { kind: 'ended'; generation: number; progress: Progress; end: GenerationEnd }
  /** A fault of the program's or of this machine's; the thread is of no more use. */
  | { kind: 'crashed'; message: string };
