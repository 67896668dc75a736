import type { MetricSnapshot } from '../metrics.js';
import type { ModelState, Rollback } from '../models/repository.js';
import type { ServiceOptions } from '../service.js';

/** What a replica is started with. */
export interface ReplicaSetup {
  /** The socket that it listens on; no other user reaches it. */
  socketPath: string;
  service: ServiceOptions;
  logLevel: string;
  index: number;
}

/** What the front may ask of a replica beside requests, and what comes back. */
export interface Answers {
  alive: true;
  metrics: MetricSnapshot;
  models: ModelState[];
}

export type ToReplica =
  | { kind: 'start'; setup: ReplicaSetup }
  | { kind: 'ask'; id: number; what: keyof Answers }
  | { kind: 'roll-back'; rollback: Rollback }
  | { kind: 'stop' };

export type FromReplica =
  | { kind: 'ready' }
  | { kind: 'refused'; message: string; exitCode: number | undefined }
  | { kind: 'answer'; id: number; value: Answers[keyof Answers] }
  | { kind: 'rolled-back'; rollback: Rollback };

/** Names the caller to a replica, so that keys take turns there too; percent-encoded. */
export const CALLER_HEADER = 'x-chameleon-caller';
