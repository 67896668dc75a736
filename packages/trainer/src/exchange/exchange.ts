import type { Parameter } from '@chameleon/core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** What ranks share while they train one model together. All ranks make the same calls in the same order. */
export interface Exchange {
  readonly rank: number;
  readonly worldSize: number;
  /** Called in the order in which gradients become ready; starts to sum a full bucket while the way back goes on. */
  gradientReady(parameter: Parameter): void;
  /** Sums what is left and waits for all: each gradient of `parameters` becomes the sum over the ranks. */
  sumGradients(parameters: readonly Parameter[]): Promise<void>;
  /** The sums over all ranks of a few numbers. */
  sumNumbers(values: readonly number[]): Promise<number[]>;
  /** Takes over a float32 tensor and gives its sum over the ranks, the same bits on all. Blocks: for what stands in the middle of a pass. */
  sumNow(values: Tensor): Tensor;
  /** The root's bytes, on every rank; others pass null. */
  broadcast(bytes: Uint8Array | null, root: number): Promise<Uint8Array>;
  /** Gives up whatever is under way: pending calls reject with ExchangeAborted at once, never waiting for a timeout. */
  abort(reason: string): void;
  /** Waits for the other ranks to be done too, and lets go of what is held. */
  close(): Promise<void>;
}

export interface MeetingPoint {
  host: string;
  port: number;
  /** Names run and generation, so that who comes from another of them is not taken for one of us. */
  prefix: string;
}

export interface ExchangeOptions {
  rank: number;
  worldSize: number;
  /** Where rank 0 waits for the others. */
  meeting: MeetingPoint;
  /** The address of this host that the others reach; the exchange listens there. */
  address: string;
  /** How long to wait for the others to come, and for a peer that says nothing in a collective. */
  timeoutMs: number;
  signal: AbortSignal;
  /** How gradients travel; summed in float32 either way. By default float32. */
  wire?: 'float32' | 'bfloat16';
  /** Asked while this thread is blocked in `sumNow` and hears no message: whether the exchange was given up. From memory that threads share. */
  isGivenUp?: () => boolean;
}

export const EXCHANGES = ['gloo', 'nccl', 'grpc'] as const;
export type ExchangeKind = (typeof EXCHANGES)[number];

/**
 * Meets the other ranks, and tries what was formed with them before it comes back.
 * @param kind `gloo` needs the libtorch backend, `nccl` that on a CUDA device; `grpc` goes with any
 * @throws ExchangeAborted when others didn't come in time, or the signal says so; a UserError when this kind can't be had here
 */
export async function openExchange(kind: ExchangeKind, options: ExchangeOptions): Promise<Exchange> {
  if (options.worldSize === 1) return alone;
  switch (kind) {
    case 'gloo':
    case 'nccl':
      return (await import('./c10d.js')).openC10d(kind, options);
    case 'grpc':
      return (await import('./grpc.js')).openGrpc(options);
    default:
      return kind satisfies never;
  }
}

export const alone: Exchange = {
  rank: 0,
  worldSize: 1,
  gradientReady: () => undefined,
  sumGradients: () => Promise.resolve(),
  sumNumbers: (values) => Promise.resolve([...values]),
  sumNow: (values) => values,
  broadcast: (bytes) => Promise.resolve(bytes!),
  abort: () => undefined,
  close: () => Promise.resolve(),
};
