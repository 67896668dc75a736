import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** A tensor of libtorch's, owned by the environment (thread) that made it. */
export type Handle = number;
export type HostValues = Float32Array | Int32Array | Uint8Array;

export interface AllocatorMemory {
  /** Bytes in tensors, views counted once. */
  liveBytes: number;
  /** The most since `resetPeak`. */
  peakBytes: number;
  /** Freed bytes that are kept for tensors to come. */
  cachedBytes: number;
  /** Handles that are alive in this thread. */
  tensors: number;
}

export interface AdamStepOptions { learningRate: number; beta1: number; beta2: number; epsilon: number; weightDecay: number; decoupled: boolean; step: number }
export interface FusedBatchNormOptions { training: boolean; momentum: number; epsilon: number; relu: boolean; inPlace: boolean }
export interface FusedBatchNormBackwardOptions { epsilon: number; relu: boolean; needsInput: boolean; needsParameters: boolean; needsSum: boolean }
/** Each is [height, width]; `corner`: the padding above and left of a picture. */
export interface PoolWindow { size: [number, number]; strides: [number, number]; corner: [number, number]; output: [number, number] }
export interface SgdStepOptions { learningRate: number; momentum: number; dampening: number; weightDecay: number; nesterov: boolean; step: number }

/** Where ranks meet, as the addon takes it: see collectives.ts. */
export interface GroupOptions { kind: 'gloo' | 'nccl'; rank: number; worldSize: number; host: string; port: number; prefix: string; address: string; timeoutMs: number }
declare const groupMark: unique symbol;
/** A group of the addon's. */
export interface NativeGroup { readonly [groupMark]: true }

declare const sumMark: unique symbol;
/** A sum of the addon's that a thread waits for. */
export interface AwaitedSum { readonly [sumMark]: true }

export interface Addon {
  readonly version: string;
  operator(name: string, overload: string): number;
  call(operator: number, args: unknown[]): unknown;
  fromData(values: HostValues, shape: number[]): Handle;
  read(handle: Handle): HostValues;
  release(handle: Handle): void;
  shape(handle: Handle): number[];
  scalarType(handle: Handle): string;
  adamStep(parameters: Handle[], gradients: Handle[], first: Handle[], second: Handle[], options: AdamStepOptions): void;
  sgdStep(parameters: Handle[], gradients: Handle[], buffers: Handle[], options: SgdStepOptions): void;
  /** Absent where the library that libtorch computes with is not one that the addon was compiled for. The filter is [out, in, height, width]. */
  prepareConvolution?(this: void, filter: Handle, bias: Handle, strides: number, padding: number, bfloat16: boolean): Handle;
  /** NCHW; writes into `add` where it isn't null. */
  runConvolution?(this: void, prepared: Handle, x: Handle, add: Handle | null, relu: boolean): Handle;
  /** What the addon was compiled with of what groups sum by: openGroup throws for the other. */
  readonly collectives: readonly ('gloo' | 'nccl')[];
  /** addon/fused-batch-norm.h says what these do. */
  fusedBatchNorm(x: Handle, scale: Handle, shift: Handle, mean: Handle, variance: Handle, summand: Handle | null, options: FusedBatchNormOptions): Handle[];
  fusedBatchNormBackward(dy: Handle, x: Handle, y: Handle | null, scale: Handle, shift: Handle, mean: Handle, variance: Handle, batchMean: Handle | null, inverseDeviation: Handle | null, options: FusedBatchNormBackwardOptions): (Handle | null)[];
  /** addon/max-pool.h says what these do. */
  maxPool(x: Handle, window: PoolWindow, keep: boolean): Handle[];
  maxPoolBackward(dy: Handle, positions: Handle, inputShape: number[], window: PoolWindow): Handle;
  /** addon/packed-convolution.h says what these do; absent as the prepared ones are. */
  packFilter?(this: void, filter: Handle): Handle;
  packedConvolution?(this: void, x: Handle, filter: Handle, summand: Handle | null, strides: number, padding: number, relu: boolean, inPlace: boolean, norm: Handle[] | null, epsilon: number): Handle;
  packedConvolutionInputGradient?(this: void, dy: Handle, filter: Handle, inputShape: number[], strides: number, padding: number): Handle;
  packedConvolutionFilterGradient?(this: void, dy: Handle, x: Handle, filterShape: number[], strides: number, padding: number): Handle;
  /** addon/minimal-convolution.h says what these do; null where ATen is to compute. */
  minimalConvolution(x: Handle, filter: Handle): Handle | null;
  minimalConvolutionInputGradient(dy: Handle, filter: Handle): Handle | null;
  minimalConvolutionFilterGradient(dy: Handle, x: Handle): Handle | null;
  /** addon/prepared-network.h says what these take; absent as `prepareConvolution` is. */
  prepareNetwork?(this: void, steps: object[], values: { scale: number; signed: boolean }[], bfloat16: boolean): Handle;
  runNetwork?(this: void, network: Handle, pictures: Handle): Handle;
  readonly multipliesBytes?: boolean;
  /** addon/collectives.h says what each of these does. */
  openGroup(options: GroupOptions, onDone: (job: number, error: string | null, result: Float64Array | Uint8Array | undefined) => void): NativeGroup;
  sumOverRanks(group: NativeGroup, job: number, flat: Handle): void;
  settleSums(group: NativeGroup, job: number): void;
  beginSum(group: NativeGroup, tensor: Handle): AwaitedSum;
  awaitSum(sum: AwaitedSum, timeoutMs: number): boolean;
  sumNumbers(group: NativeGroup, job: number, values: Float64Array): void;
  broadcastBytes(group: NativeGroup, job: number, bytes: Uint8Array | null, root: number): void;
  closeGroup(group: NativeGroup, job: number): void;
  abandonGroup(group: NativeGroup): void;
  placeInBucket(bucket: Handle, offset: number, gradient: Handle, filter: boolean): void;
  takeFromBucket(bucket: Handle, offset: number, gradient: Handle, filter: boolean): void;
  memory(): AllocatorMemory;
  resetPeak(): void;
  /** 0: as much as the machine, its control groups and `ulimit -v` give. */
  limitMemory(bytes: number): void;
  emptyCache(): void;
  /** Where this thread's tensors are made from here on. Throws where this libtorch has no such device. */
  useDevice(name: string): void;
  /** Whether this libtorch has CUDA and finds a device for it. */
  hasCuda(): boolean;
  setThreads(count: number): void;
  bindThreads(): boolean;
}

/** c10::ScalarType and c10::MemoryFormat, as the schemas take them. */
export const INT64 = 4, INT32 = 3, FLOAT32 = 6, COMPLEX64 = 9, BOOL = 11, BFLOAT16 = 15;
export const CHANNELS_LAST = 2;

let loaded: Addon | undefined;

/** The addon, loaded at its first use: importing the package never fails. CHAMELEON_ADDON names another than set-up's. Throws what the dynamic linker says, and what mends it. */
export function addon(): Addon {
  loaded ??= load(process.env['CHAMELEON_ADDON'] ?? fileURLToPath(new URL('../build/tfjs_libtorch.node', import.meta.url)));
  return loaded;
}

function load(path: string): Addon {
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    const said = (error instanceof Error ? error.message : String(error)).split('\n')[0];
    const why = existsSync(path) ? `${path} can't be loaded (${said}): its libtorch is gone, or is another than it was compiled for` : `there is no ${path}: libtorch was not set up`;
    throw new Error(`${why}. Run \`node tools/setup.mjs\`.`, { cause: error });
  }
}

let device: 'cpu' | 'cuda' = 'cpu';

/** Where this thread's tensors are made. */
export const deviceInUse = (): 'cpu' | 'cuda' => device;

/**
 * Makes this thread's tensors there from here on: call it before `tf.setBackend('libtorch')`. Throws where this libtorch has no such device,
 * or was not built for it, with what mends it.
 */
export function useDevice(name: 'cpu' | 'cuda'): void {
  addon().useDevice(name);
  device = name;
}

const operators = new Map<string, number>();

/** Calls an ATen operator by its schema's name ("aten::add.Tensor"). Arguments left out take the schema's defaults. */
export function callOperator(name: string, args: unknown[]): unknown {
  const native = addon();
  let operator = operators.get(name);
  if (operator === undefined) {
    const [base, overload = ''] = name.split('.') as [string, string?];
    operators.set(name, (operator = native.operator(base, overload)));
  }
  return native.call(operator, args);
}
