import { type NamedAttrMap, type NamedTensorMap, type Tensor, engine, getBackend, getKernel } from '@tensorflow/tfjs-core';

export type Precision = 'float32' | 'bfloat16';

/**
 * Whether the backend in use brings a kernel of this name. Core composes what it needs of TF.js's operators, so it
 * runs on every backend; where one brings a faster kernel (tfjs-libtorch's README lists them), core calls that.
 */
export function hasKernel(name: string): boolean {
  return getKernel(name, getBackend()) != null;
}

/** Runs a kernel by name. Inputs may also be lists of tensors, as in TF.js's own Concat. */
export function runKernel<Result extends Tensor | Tensor[]>(name: string, inputs: Record<string, Tensor | Tensor[]>, attributes: object = {}): Result {
  return engine().runKernel(name, inputs as unknown as NamedTensorMap, attributes as NamedAttrMap) as Tensor | Tensor[] as Result;
}

/** Lets tensors go; what is absent is passed over. */
export function release(...tensors: (Tensor | null | undefined)[]): void {
  for (const tensor of tensors) tensor?.dispose();
}
