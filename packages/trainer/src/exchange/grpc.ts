import { messageOf } from '@chameleon/core';
import { tensor } from '@tensorflow/tfjs-core';
import { ExchangeAborted } from './aborted.js';
import type { Exchange, ExchangeOptions } from './exchange.js';
import { GradientBuckets } from './gradient-buckets.js';
import { GrpcCalls } from './grpc-calls.js';
import { aligned, bytesOf, fromBfloat16, toBfloat16 } from './reducer.js';

/**
 * The exchange for backends without libtorch: rank 0 sums what all bring, over one gRPC stream a rank, in a thread of its own. Slower than
 * Gloo, for all bytes go through rank 0.
 */
export async function openGrpc(options: ExchangeOptions): Promise<Exchange> {
  const { rank, worldSize, signal } = options;
  const given = () => new ExchangeAborted(`The exchange was given up: ${messageOf(signal.reason)}`, { cause: signal.reason });
  if (signal.aborted) throw given();
  const calls = new GrpcCalls(options);
  const onAbort = () => calls.fail(given());
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await calls.met;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return grpcExchange(calls, { rank, worldSize, wire: options.wire ?? 'float32', isGivenUp: options.isGivenUp ?? (() => false) });
}

function grpcExchange(calls: GrpcCalls, { rank, worldSize, wire, isGivenUp }: Pick<ExchangeOptions, 'rank' | 'worldSize'> & Required<Pick<ExchangeOptions, 'wire' | 'isGivenUp'>>): Exchange {
  const buckets = new GradientBuckets<Float32Array>(worldSize, {
    make: (length) => new Float32Array(length),
    place: (memory, { gradient }, offset) => memory.set(gradient!.dataSync(), offset),
    sum: async (memory) => memory.set(wire === 'bfloat16' ? fromBfloat16(numbers(await calls.make('bfloat16', bytesOf(toBfloat16(memory))), Uint16Array)) : numbers(await calls.make('float32', bytesOf(memory)), Float32Array)),
    settle: () => Promise.resolve(),
    take: (memory, parameter, offset) => {
      parameter.clearGradient();
      parameter.accumulate(tensor(memory.slice(offset, offset + parameter.size), parameter.shape));
    },
    release: () => undefined,
  });
  return {
    rank,
    worldSize,
    gradientReady: (parameter) => buckets.ready(parameter),
    sumGradients: (parameters) => buckets.sum(parameters),
    sumNumbers: async (values) => [...numbers(await calls.make('float64', bytesOf(Float64Array.from(values))), Float64Array)],
    sumNow: (values) => {
      const own = Float32Array.from(values.dataSync()), { shape } = values;
      values.dispose();
      return tensor(numbers(calls.makeNow('float32', bytesOf(own), isGivenUp), Float32Array), shape);
    },
    broadcast: (bytes, root) => calls.make('broadcast', bytes ?? new Uint8Array(), root),
    abort: (reason) => calls.fail(new ExchangeAborted(`The exchange was given up: ${reason}`)),
    close: async () => {
      await calls.make('close', new Uint8Array()).catch(() => undefined);
      await calls.leave();
    },
  };
}

/** Numbers out of bytes that may begin anywhere. */
const numbers = <A>(bytes: Uint8Array, type: new (buffer: ArrayBuffer) => A): A => new type(aligned(bytes));
