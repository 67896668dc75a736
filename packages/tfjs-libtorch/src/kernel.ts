import { type Attribute, type DataType, type NamedAttrMap, type TensorInfo, registerKernel } from '@tensorflow/tfjs-core';
import { BOOL, COMPLEX64, FLOAT32, type Handle, type HostValues, INT32, addon, callOperator } from './addon.js';
import type { LibtorchBackend } from './backend.js';
import { errorOf } from './out-of-memory.js';

export const BACKEND_NAME = 'libtorch';

/**
 * What a kernel works with for the length of one call. Handles that ATen returns are let go at its end, but for those
 * that became its output; so a kernel frees nothing by hand and can't leak when ATen throws half-way.
 */
export class KernelScope {
  readonly #temporaries: Handle[] = [];
  readonly #outputs: TensorInfo[] = [];

  constructor(readonly backend: LibtorchBackend) {}

  /** The handle of an input; the caller keeps it. */
  handle(x: TensorInfo): Handle {
    return this.backend.handle(x);
  }

  /** Calls an operator with one result. */
  aten(name: string, ...args: unknown[]): Handle {
    return this.own(callOperator(name, args) as Handle);
  }

  /** Calls an operator with several results; those that weren't asked for are null. */
  atenAll(name: string, ...args: unknown[]): (Handle | null)[] {
    const handles = callOperator(name, args) as (Handle | null)[];
    for (const handle of handles) if (handle !== null) this.#temporaries.push(handle);
    return handles;
  }

  /** Takes over a handle that the addon made. */
  own(handle: Handle): Handle {
    this.#temporaries.push(handle);
    return handle;
  }

  /** A small tensor from values of the host's: positions, weights. */
  data(values: HostValues, shape: number[] = [values.length]): Handle {
    return this.own(addon().fromData(values, shape));
  }

  /** A result of this call as the kernel's output. The shape is TF.js's; by default the one that ATen gave. */
  output(handle: Handle, dtype: DataType = 'float32', shape: number[] = addon().shape(handle)): TensorInfo {
    const index = this.#temporaries.lastIndexOf(handle);
    if (index < 0) throw new Error('a kernel returns a handle that it does not own');
    this.#temporaries.splice(index, 1);
    const output = this.backend.adopt(handle, shape, dtype);
    this.#outputs.push(output);
    return output;
  }

  /** The call failed: outputs that were made already go too. */
  abandon(): void {
    for (const { dataId } of this.#outputs) this.backend.disposeData(dataId, true);
  }

  end(): void {
    for (const handle of this.#temporaries) addon().release(handle);
  }
}

export type Inputs = Record<string, TensorInfo>;
// TF.js types a kernel's attributes as an open map; each kernel states its own.
export type Attributes = Record<string, Attribute | undefined>;

type KernelFunction<A> = (scope: KernelScope, inputs: Inputs, attrs: A) => TensorInfo | TensorInfo[];

/** Registers a kernel of the libtorch backend. */
export function defineKernel<A = Attributes>(kernelName: string, compute: KernelFunction<A>): void {
  registerKernel({
    kernelName,
    backendName: BACKEND_NAME,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const scope = new KernelScope(backend as LibtorchBackend);
      try {
        return compute(scope, inputs as unknown as Inputs, attrs as NamedAttrMap as A);
      } catch (error) {
        scope.abandon();
        throw explained(kernelName, inputs, error);
      } finally {
        scope.end();
      }
    },
  });
}

/** ATen's message, with the kernel and the shapes that it was called with. */
function explained(kernelName: string, inputs: object, error: unknown): Error {
  const shapes = Object.entries(inputs as Partial<Inputs>).map(([name, x]) => `${name} [${x?.shape?.join(', ') ?? ''}]`);
  return errorOf(`${kernelName}(${shapes.join(', ')})`, error);
}

export function scalarType(dtype: DataType): number {
  switch (dtype) {
    case 'float32':
      return FLOAT32;
    case 'int32':
      return INT32;
    case 'bool':
      return BOOL;
    case 'complex64':
      return COMPLEX64;
    default:
      throw new Error(`libtorch tensors are float32, int32, bool or complex64, not ${dtype}`);
  }
}

/** TF.js's NHWC as ATen's NCHW, and back: views, for NHWC in memory is channels_last. */
export const nchw = (scope: KernelScope, x: Handle): Handle => scope.aten('aten::permute', x, [0, 3, 1, 2]);
export const nhwc = (scope: KernelScope, x: Handle): Handle => scope.aten('aten::permute', x, [0, 2, 3, 1]);
