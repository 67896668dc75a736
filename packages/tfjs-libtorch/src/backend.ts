import { DataStorage, type DataType, KernelBackend, type TensorInfo, engine } from '@tensorflow/tfjs-core';
import { type GroupOptions, type Handle, type HostValues, addon, callOperator } from './addon.js';
import { ProcessGroup } from './collectives.js';
import { errorOf } from './out-of-memory.js';

type DataId = TensorInfo['dataId'];
type Values = Float32Array | Int32Array | Uint8Array | Uint8ClampedArray | number[] | boolean[] | string[] | Uint8Array[];

interface Entry { handle: Handle; references: number }

/**
 * TensorFlow.js's side of libtorch: which tensor of TF.js is which tensor of ATen, and how many of TF.js's share it.
 * A tensor's memory goes when TF.js disposes the last that shares it. To TF.js activations are float32, also where
 * libtorch holds them in bfloat16; `read` widens them.
 */
export class LibtorchBackend extends KernelBackend {
  readonly #data = new DataStorage<Entry>(this, engine());

  /** The tensor of libtorch behind one of TF.js; one that another backend holds is taken over from it. */
  handle(x: TensorInfo): Handle {
    return this.#entry(x.dataId).handle;
  }

  /** TF.js asks the backend that has the data for them, and falls over where none has. */
  #entry(dataId: DataId): Entry {
    try {
      return this.#data.get(dataId);
    } catch (error) {
      if (error instanceof TypeError) throw new Error('a tensor was used after it was disposed', { cause: error });
      throw error;
    }
  }

  /** Makes a tensor of TF.js from a handle, which the backend owns from here on. */
  adopt(handle: Handle, shape: number[], dtype: DataType): TensorInfo {
    const dataId = {};
    this.#data.set(dataId, { handle, references: 1 });
    return { dataId, shape, dtype };
  }

  override write(values: Values, shape: number[], dtype: DataType): DataId {
    const dataId = {};
    this.#data.set(dataId, { handle: made(values, shape, dtype), references: 1 });
    return dataId;
  }

  override move(dataId: DataId, values: Values, shape: number[], dtype: DataType, references: number): void {
    this.#data.set(dataId, { handle: made(values, shape, dtype), references });
  }

  override readSync(dataId: DataId): HostValues {
    const { handle } = this.#entry(dataId);
    try {
      return addon().scalarType(handle) === 'ComplexFloat' ? readComplex(handle) : addon().read(handle);
    } catch (error) {
      throw errorOf(`reading a tensor [${addon().shape(handle).join(', ')}]`, error);
    }
  }

  override async read(dataId: DataId): Promise<HostValues> {
    return this.readSync(dataId);
  }

  override disposeData(dataId: DataId, force = false): boolean {
    if (!this.#data.has(dataId)) return true;
    const entry = this.#data.get(dataId);
    entry.references--;
    if (!force && entry.references > 0) return false;
    addon().release(entry.handle);
    this.#data.delete(dataId);
    return true;
  }

  override incRef(dataId: DataId): void {
    this.#data.get(dataId).references++;
  }

  decRef(dataId: DataId): void {
    if (this.#data.has(dataId)) this.#data.get(dataId).references--;
  }

  override refCount(dataId: DataId): number {
    return this.#data.has(dataId) ? this.#data.get(dataId).references : 0;
  }

  override numDataIds(): number {
    return this.#data.numDataIds();
  }

  /** What `tf.memory()` says beside TF.js's own counts: the allocator's bytes, for this process. */
  override memory(): { unreliable: boolean } {
    return { unreliable: false, ...addon().memory() };
  }

  /** Begins a new `peakBytes`. */
  resetPeak(): void {
    addon().resetPeak();
  }

  override async time(run: () => void): Promise<{ kernelMs: number }> {
    const start = performance.now();
    run();
    return { kernelMs: performance.now() - start };
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  /** Begins to form a group of processes that sum tensors of this backend. Throws where the addon was compiled without that kind. */
  openGroup(options: GroupOptions): ProcessGroup {
    return new ProcessGroup(this, options);
  }

  override dispose(): void {
    addon().emptyCache();
  }
}

/** A tensor of libtorch from the host's values. */
function made(values: Values, shape: number[], dtype: DataType): Handle {
  try {
    return copied(values, shape, dtype);
  } catch (error) {
    throw errorOf(`tensor(${dtype} [${shape.join(', ')}])`, error);
  }
}

/** Complex numbers come, and go, as pairs of their real and imaginary parts. */
function copied(values: Values, shape: number[], dtype: DataType): Handle {
  if (dtype !== 'complex64') return addon().fromData(hostValues(values, dtype), shape);
  const pairs = addon().fromData(hostValues(values, 'float32'), [...shape, 2]);
  try {
    return callOperator('aten::view_as_complex', [pairs]) as Handle;
  } finally {
    addon().release(pairs);
  }
}

function readComplex(handle: Handle): HostValues {
  const pairs = callOperator('aten::view_as_real', [handle]) as Handle;
  try {
    return addon().read(pairs);
  } finally {
    addon().release(pairs);
  }
}

/** Values as the addon takes them: bool in bytes, int32, float32. */
function hostValues(values: Values, dtype: DataType): HostValues {
  switch (dtype) {
    case 'float32':
      return values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
    case 'int32':
      return values instanceof Int32Array ? values : Int32Array.from(values as ArrayLike<number>);
    case 'bool':
      return values instanceof Uint8Array ? values : Uint8Array.from(values as ArrayLike<number>);
    default:
      throw new Error(`the libtorch backend holds float32, int32, bool and complex64 tensors; ${dtype} is not among them. Keep such tensors on the cpu backend.`);
  }
}
