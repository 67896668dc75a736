import { type Parameter, UserError, messageOf } from '@chameleon/core';
import { type Tensor, type TensorInfo, backend, getBackend } from '@tensorflow/tfjs-core';
import { ExchangeAborted } from './aborted.js';
import type { Exchange, ExchangeOptions } from './exchange.js';
import { GradientBuckets } from './gradient-buckets.js';

/** What the libtorch backend brings (tfjs-libtorch, collectives.ts). */
interface NativeBucket {
  place(gradient: TensorInfo, place: { offset: number; filter: boolean }): void;
  take(gradient: TensorInfo, place: { offset: number; filter: boolean }): void;
  dispose(): void;
}
interface NativeGroup {
  readonly ready: Promise<void>;
  bucket(length: number, precision: 'float32' | 'bfloat16'): NativeBucket;
  sumBucket(bucket: NativeBucket): Promise<void>;
  settle(): Promise<void>;
  sumNumbers(values: readonly number[]): Promise<number[]>;
  sumNow(tensor: TensorInfo, givenUp: () => boolean): void;
  broadcast(bytes: Uint8Array | null, root: number): Promise<Uint8Array>;
  abandon(error: Error): void;
  close(): Promise<void>;
}
export type C10dKind = 'gloo' | 'nccl';
interface GroupBackend {
  openGroup?(options: { kind: C10dKind; rank: number; worldSize: number; host: string; port: number; prefix: string; address: string; timeoutMs: number }): NativeGroup;
}

/**
 * The exchange over PyTorch's c10d with Gloo or NCCL, in the libtorch backend of this thread. Rank 0 keeps the store at the meeting
 * point, on its own address alone; what travels there are addresses.
 */
export async function openC10d(kind: C10dKind, { rank, worldSize, meeting, address, timeoutMs, signal, wire = 'float32', isGivenUp = () => false }: ExchangeOptions): Promise<Exchange> {
  const reasonGiven = () => new ExchangeAborted(`The exchange was given up: ${messageOf(signal.reason)}`, { cause: signal.reason });
  if (signal.aborted) throw reasonGiven();
  const where = `rank ${rank} of ${worldSize} at ${meeting.host}:${meeting.port}`;
  const group = begin({ kind, rank, worldSize, ...meeting, address, timeoutMs });
  const onAbort = () => group.abandon(reasonGiven());
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await group.ready;
  } catch (error) {
    const told = error instanceof ExchangeAborted ? error : new ExchangeAborted(`The ranks could not meet (${where}): ${messageOf(error)}.`, { cause: error });
    group.abandon(told);
    throw told;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return c10dExchange(group, { rank, worldSize, wire, where, isGivenUp });
}

function begin(options: Parameters<NonNullable<GroupBackend['openGroup']>>[0]): NativeGroup {
  const here = backend() as GroupBackend;
  if (here.openGroup === undefined) throw new UserError(`The exchange "${options.kind}" needs the libtorch backend, and this process computes with ${getBackend()}. Use --exchange grpc.`);
  try {
    return here.openGroup(options);
  } catch (error) {
    throw new UserError(`The exchange "${options.kind}" can't be had here: ${messageOf(error)}. Until then use --exchange grpc.`, { cause: error });
  }
}

function c10dExchange(group: NativeGroup, { rank, worldSize, wire, where, isGivenUp }: { rank: number; worldSize: number; wire: 'float32' | 'bfloat16'; where: string; isGivenUp: () => boolean }): Exchange {
  const placeOf = ({ layout }: Parameter, offset: number) => ({ offset, filter: layout === 'filter' });
  const buckets = new GradientBuckets<NativeBucket>(worldSize, {
    make: (length) => group.bucket(length, wire),
    place: (bucket, parameter, offset) => bucket.place(parameter.gradient!, placeOf(parameter, offset)),
    sum: (bucket) => group.sumBucket(bucket),
    settle: () => group.settle(),
    take: (bucket, parameter, offset) => bucket.take(parameter.gradient!, placeOf(parameter, offset)),
    release: (bucket) => bucket.dispose(),
  });
  /** What fails here fails for good: the ranks are no longer at the same place. */
  const gone = (error: unknown): ExchangeAborted => {
    const told = error instanceof ExchangeAborted ? error : new ExchangeAborted(`The exchange broke (${where}): ${messageOf(error)}`, { cause: error });
    group.abandon(told);
    return told;
  };
  const orAborted = <T>(call: Promise<T>): Promise<T> => call.catch((error: unknown) => {
    throw gone(error);
  });
  const sumNow = (values: Tensor): Tensor => {
    try {
      group.sumNow(values, isGivenUp);
      return values;
    } catch (error) {
      values.dispose();
      throw gone(error);
    }
  };
  return {
    rank,
    worldSize,
    gradientReady: (parameter) => buckets.ready(parameter),
    sumGradients: (parameters) => orAborted(buckets.sum(parameters)),
    sumNumbers: (values) => orAborted(group.sumNumbers(values)),
    sumNow,
    broadcast: (bytes, root) => orAborted(group.broadcast(bytes, root)),
    abort: (reason) => group.abandon(new ExchangeAborted(`The exchange was given up: ${reason}`)),
    close: async () => {
      await group.close();
      buckets.dispose();
    },
  };
}
