import '@tensorflow/tfjs-backend-cpu';
import type { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { type DataType, type KernelConfig, type TensorInfo, engine, getKernel } from '@tensorflow/tfjs-core';
import { type HostValues, addon } from '../addon.js';
import { type Inputs, type KernelScope, defineKernel } from '../kernel.js';

/**
 * Kernels whose result's size depends on the values, or that walk over few numbers one by one: TF.js's own cpu backend computes them,
 * on the processor, from copies of the inputs. Nothing that a training step or a network's body calls is among them.
 */
const ON_THE_HOST = [
  'Bincount', 'BroadcastArgs', 'DenseBincount', 'Dilation2D', 'Dilation2DBackpropFilter', 'Dilation2DBackpropInput', 'Multinomial',
  'NonMaxSuppressionV3', 'NonMaxSuppressionV4', 'NonMaxSuppressionV5', 'RaggedGather', 'RaggedRange', 'RaggedTensorToTensor', 'SearchSorted',
  'SparseFillEmptyRows', 'SparseReshape', 'SparseSegmentMean', 'SparseSegmentSum', 'Unique',
];

export function registerHostKernels(): void {
  for (const name of ON_THE_HOST) defineKernel(name, (scope, inputs, attrs) => onTheHost(scope, name, inputs, attrs));
}

/** An input may be a list of tensors, as RaggedTensorToTensor's row partitions are. */
const flat = (inputs: Inputs): TensorInfo[] => Object.values(inputs as Record<string, TensorInfo | TensorInfo[]>).flat();

function onTheHost(scope: KernelScope, name: string, inputs: Inputs, attrs: object): TensorInfo | TensorInfo[] {
  const cpu = engine().findBackend('cpu') as MathBackendCPU;
  const made: TensorInfo[] = [];
  // Some of its kernels ask for a tensor's rank, which only tensors of the public interface tell.
  const copies = new Map(flat(inputs).map((x) => [x, { ...cpu.makeTensorInfo(x.shape, x.dtype, addon().read(scope.handle(x))), rank: x.shape.length }]));
  try {
    const { kernelFunc } = getKernel(name, 'cpu') as KernelConfig;
    const copied = Object.fromEntries(Object.entries(inputs as Record<string, TensorInfo | TensorInfo[]>).map(([key, x]) => [key, Array.isArray(x) ? x.map((t) => copies.get(t)!) : copies.get(x)!]));
    const result = kernelFunc({ inputs: copied as never, attrs: attrs as never, backend: cpu });
    made.push(...(Array.isArray(result) ? result : [result]));
    const outputs = made.map((y) => scope.output(scope.data(typed(cpu.readSync(y.dataId) as HostValues, y.dtype), y.shape), y.dtype, y.shape));
    return Array.isArray(result) ? outputs : outputs[0]!;
  } finally {
    for (const { dataId } of [...copies.values(), ...made]) cpu.disposeData(dataId, true);
  }
}

/** TF.js's cpu kernels leave some results in another typed array than their dtype's. */
function typed(values: ArrayLike<number>, dtype: DataType): HostValues {
  switch (dtype) {
    case 'float32':
      return Float32Array.from(values);
    case 'int32':
      return Int32Array.from(values);
    case 'bool':
      return Uint8Array.from(values);
    default:
      throw new Error(`libtorch tensors are float32, int32, bool or complex64, not ${dtype}`);
  }
}
