import { type DataType, type Tensor, type TensorInfo, dispose, getKernelsForBackend, memory, registerKernel, setBackend, unregisterKernel } from '@tensorflow/tfjs-core';
import type { ConformanceCase } from './case.js';

export interface ConformanceRow {
  kernel: string;
  what: string;
  /** Absolute up to 1, relative beyond; Infinity where the backends differ in more than rounding. */
  largestError: number;
  /** What is wrong, or null. */
  failure: string | null;
}

interface Outcome { values: ArrayLike<number>; shape: number[]; dtype: DataType }

/**
 * Runs cases on a backend and on the reference, one after the other, for TF.js has one engine a process. A row fails
 * where values, shapes or dtypes differ, where the backend throws, and where a case leaves tensors behind.
 */
export async function compareBackends(cases: readonly ConformanceCase[], backend: string, reference = 'cpu'): Promise<ConformanceRow[]> {
  await start(reference);
  const expected = cases.map((c) => outcomes(c.reference ?? c.run));
  await start(backend);
  return cases.map((c, i) => {
    const before = memory();
    const got = outcomes(c.run);
    const after = memory();
    const left = after.numTensors - before.numTensors + (after.numDataBuffers - before.numDataBuffers);
    const row = judge(c, got, expected[i]!);
    return left === 0 || row.failure !== null ? row : { ...row, failure: `it left ${left} tensors behind` };
  });
}

async function start(backend: string): Promise<void> {
  if (!(await setBackend(backend))) throw new Error(`the backend ${backend} does not start`);
}

/** What a case gives, or the message that it throws. */
function outcomes(run: () => Tensor | Tensor[]): Outcome[] | string {
  try {
    const result = run();
    const tensors = Array.isArray(result) ? result : [result];
    const read = tensors.map((t) => ({ values: t.dataSync(), shape: t.shape, dtype: t.dtype }));
    dispose(tensors);
    return read;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function judge({ kernel, what, tolerance }: ConformanceCase, got: Outcome[] | string, expected: Outcome[] | string): ConformanceRow {
  const row = (largestError: number, failure: string | null): ConformanceRow => ({ kernel, what, largestError, failure });
  if (typeof expected === 'string') return row(Infinity, `the reference itself throws: ${expected}`);
  if (typeof got === 'string') return row(Infinity, `it throws: ${got}`);
  if (got.length !== expected.length) return row(Infinity, `${got.length} results instead of ${expected.length}`);
  let largest = 0;
  for (const [i, { values, shape, dtype }] of expected.entries()) {
    const mine = got[i]!;
    if (mine.dtype !== dtype) return row(Infinity, `result ${i} is ${mine.dtype}, not ${dtype}`);
    if (mine.shape.join() !== shape.join()) return row(Infinity, `result ${i} has the shape [${mine.shape.join(', ')}], not [${shape.join(', ')}]`);
    for (let j = 0; j < values.length; j++) {
      const error = errorOf(mine.values[j]!, values[j]!);
      if (!(error <= (dtype === 'float32' || dtype === 'complex64' ? tolerance : 0))) return row(error, `result ${i} is ${mine.values[j]} at ${j}, not ${values[j]}`);
      largest = Math.max(largest, error);
    }
  }
  return row(largest, null);
}

function errorOf(a: number, b: number): number {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return 0;
  const error = Math.abs(a - b) / Math.max(1, Math.abs(b));
  return Number.isNaN(error) ? Infinity : error;
}

/** Notes which of a backend's kernels are called from here on, until `stop`, and the dtypes of what they were given (or gave, where they take nothing). */
export function recordKernels(backendName: string, dtypeOf: (x: TensorInfo) => string = ({ dtype }) => dtype): { called: Map<string, Set<string>>; stop: () => void } {
  const called = new Map<string, Set<string>>();
  const kernels = getKernelsForBackend(backendName);
  const note = (name: string, tensors: unknown[]) => {
    const dtypes = called.get(name) ?? new Set();
    called.set(name, dtypes);
    for (const t of tensors.flat() as (TensorInfo | undefined)[]) if (t?.dtype) dtypes.add(dtypeOf(t));
  };
  const exchange = (replacements: typeof kernels) => {
    for (const kernel of replacements) {
      unregisterKernel(kernel.kernelName, backendName);
      registerKernel(kernel);
    }
  };
  exchange(kernels.map((kernel) => ({
    ...kernel,
    kernelFunc: (parameters) => {
      const given = Object.values(parameters.inputs);
      note(kernel.kernelName, given);
      const results = kernel.kernelFunc(parameters);
      if (given.length === 0) note(kernel.kernelName, [results]);
      return results;
    },
  })));
  return { called, stop: () => exchange(kernels) };
}
