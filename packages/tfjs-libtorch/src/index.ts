import { existsSync, readFileSync } from 'node:fs';
import { getKernel, registerBackend } from '@tensorflow/tfjs-core';
import { addon, useDevice } from './addon.js';
import { LibtorchBackend } from './backend.js';
import { BACKEND_NAME } from './kernel.js';
import { registerActivations } from './kernels/activation.js';
import { registerBatchNorm } from './kernels/batch-norm.js';
import { registerBinary } from './kernels/binary.js';
import { registerComplex } from './kernels/complex.js';
import { registerConvolution } from './kernels/convolution.js';
import { registerCreation } from './kernels/creation.js';
import { registerFusion, unregisterFusion } from './kernels/fusion.js';
import { registerGather } from './kernels/gather.js';
import { registerHostKernels } from './kernels/host.js';
import { registerLocalResponse } from './kernels/local-response.js';
import { registerMatMul } from './kernels/matmul.js';
import { registerPooling } from './kernels/pooling.js';
import { registerPreparedConvolution } from './kernels/prepared-convolution.js';
import { registerPreparedNetwork } from './kernels/prepared-network.js';
import { registerRanges } from './kernels/ranges.js';
import { registerReductions } from './kernels/reduce.js';
import { registerResize } from './kernels/resize.js';
import { registerSampling } from './kernels/sampling.js';
import { registerScans } from './kernels/scan.js';
import { registerShapes } from './kernels/shape.js';
import { registerSpace } from './kernels/space.js';
import { registerStridedSlice } from './kernels/strided-slice.js';
import { registerTopK } from './kernels/top-k.js';
import { registerTraining } from './kernels/training.js';
import { registerUnary } from './kernels/unary.js';
import { registerVolume } from './kernels/volume.js';

const families = [
  registerUnary, registerBinary, registerActivations, registerReductions, registerScans, registerShapes, registerStridedSlice, registerSpace, registerCreation, registerRanges,
  registerGather, registerTopK, registerMatMul, registerConvolution, registerPooling, registerBatchNorm, registerResize, registerTraining, registerComplex, registerVolume,
  registerSampling, registerLocalResponse, registerHostKernels,
];
for (const register of families) register();
registerBackend(BACKEND_NAME, () => {
  if (process.env.CHAMELEON_DEVICE) useDevice(process.env.CHAMELEON_DEVICE as 'cpu' | 'cuda');
  // Which of them there are, only the loaded addon knows.
  registerPreparedConvolution();
  if (process.env.CHAMELEON_FUSION !== 'off') registerFusion();
  registerPreparedNetwork();
  return new LibtorchBackend();
});

export { LibtorchBackend } from './backend.js';
export { type AllocatorMemory, useDevice } from './addon.js';
export { type MemoryFigures, OutOfMemoryError } from './out-of-memory.js';
export { Bucket, type GroupOptions, type Place, ProcessGroup } from './collectives.js';

/** The version of libtorch that the addon is linked with. Throws where the addon was not built or can't be loaded. */
export const libtorchVersion = (): string => addon().version;

/** By what processes can sum their tensors with this libtorch's c10d. pip's torch has no headers of Gloo; NCCL wants CUDA. */
export const collectives = (): readonly ('gloo' | 'nccl')[] => addon().collectives;

/** Whether this libtorch has CUDA and finds a device for it. */
export const hasCuda = (): boolean => addon().hasCuda();

/** The libtorch that this process has loaded, "/usr/lib/x86_64-linux-gnu/libtorch_cpu.so.1.13"; null where the system doesn't tell. */
export function libtorchPath(): string | null {
  addon();
  const maps = existsSync('/proc/self/maps') ? readFileSync('/proc/self/maps', 'utf8') : '';
  return /\/\S*\/libtorch_cpu\.so\S*/.exec(maps)?.[0] ?? null;
}

/** Whether the kernels are there that do several steps of a network in one. They are, unless CHAMELEON_FUSION=off; without them results differ by rounding alone. */
export function useFusion(wanted: boolean): void {
  unregisterFusion((name) => getKernel(name, BACKEND_NAME) != null);
  if (wanted) registerFusion();
}

/** How many threads an operator may use. */
export const setThreads = (count: number): void => addon().setThreads(count);

/**
 * Keeps this thread and those that compute for it on a processor each, where there are as many of both. For a thread that computes
 * shortly and seldom, as a server's: the kernel would else pack them on one processor. @returns whether it did
 */
export const bindThreads = (): boolean => addon().bindThreads();

/** Gives memory that is kept for later tensors back to the system: for when a network is let go for good. */
export const emptyCache = (): void => addon().emptyCache();

/** The allocator's figures for this process (of a GPU's memory with libtorch 2.10 or newer), and the start of a new peak. */
export const memory = () => addon().memory();
/** The most that tensors may take of the machine's memory, in bytes; beyond it there is an error that says so. 0, as at the start: what the machine, its control groups and `ulimit -v` give. */
export const limitMemory = (bytes: number): void => addon().limitMemory(bytes);
export const resetPeak = (): void => addon().resetPeak();
