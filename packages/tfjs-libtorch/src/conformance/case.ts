import { type DataType, type Tensor, grads, tensor, tidy } from '@tensorflow/tfjs-core';

/** One use of a kernel, whose result another backend must give as well. */
export interface ConformanceCase {
  kernel: string;
  /** Which use of it: shapes, dtypes, special values; "gradient" for what TF.js's gradient of it computes. */
  what: string;
  /** Makes its own inputs on the backend in use, from fixed values. */
  run: () => Tensor | Tensor[];
  /** The largest error that is passed over, absolute up to 1 and relative beyond. Integers and booleans must be equal. */
  tolerance: number;
  /** What the reference computes, for kernels that it lacks. */
  reference?: () => Tensor | Tensor[];
}

export interface CaseOptions { tolerance?: number; reference?: () => Tensor | Tensor[] }

export function conformanceCase(kernel: string, what: string, run: () => Tensor | Tensor[], { tolerance = 1e-5, reference }: CaseOptions = {}): ConformanceCase {
  return { kernel, what, run: () => tidy(run), tolerance, ...(reference && { reference: () => tidy(reference) }) };
}

/** Numbers in [low, high) that depend on the seed alone (mulberry32). */
export function numbers(count: number, seed = 1, low = -2, high = 2): Float32Array {
  let state = seed * 0x9e3779b9;
  return Float32Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return low + ((high - low) * ((t ^ (t >>> 14)) >>> 0)) / 2 ** 32;
  });
}

export interface InputOptions { seed?: number; low?: number; high?: number; dtype?: DataType }

/** A tensor of fixed values. */
export function input<T extends Tensor = Tensor>(shape: number[], { seed = 1, low = -2, high = 2, dtype = 'float32' }: InputOptions = {}): T {
  const values = numbers(shape.reduce((product, size) => product * size, 1), seed, low, high);
  switch (dtype) {
    case 'int32':
      return tensor(Int32Array.from(values, Math.floor), shape, 'int32') as T;
    case 'bool':
      return tensor(Uint8Array.from(values, (value) => (value > (low + high) / 2 ? 1 : 0)), shape, 'bool') as T;
    default:
      return tensor(values, shape, dtype) as T;
  }
}

export const SPECIAL = [Number.NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, -1.5, 2.5, 3.5, 1e30, -1e-30];

/** The gradients of all inputs, by TF.js's registered gradients, for a result's gradient of fixed values. */
export function gradientCase(kernel: string, what: string, inputs: () => Tensor[], f: (...inputs: Tensor[]) => Tensor, options: CaseOptions = {}): ConformanceCase {
  return conformanceCase(kernel, `gradient, ${what}`, () => {
    const xs = inputs();
    const shape = tidy(() => f(...xs).shape);
    return grads(f)(xs, input(shape, { seed: 99 }));
  }, options);
}
