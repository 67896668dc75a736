import type { status } from '@grpc/grpc-js';
import type { WorkRequest, WorkResponse } from '../generated/chameleon/trainer/v1/trainer.js';

/** Counts changes of the protocol that the other side can't overlook. */
export const PROTOCOL = 2;

export type FromWorker = NonNullable<WorkRequest['message']>;
export type ToWorker = NonNullable<WorkResponse['message']>;

/** A caller is turned away, with a gRPC status and what it can do. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  constructor(readonly code: status, message: string) {
    super(message);
  }
}

/** A worker's stream, as the coordinator uses it. */
export interface WorkerLink {
  send(message: ToWorker): void;
  /** Ends the stream, with an error where there is one. */
  close(refusal?: Refusal): void;
}
