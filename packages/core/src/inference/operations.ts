import type { Tensor } from '@tensorflow/tfjs-core';
import { type FoldedOperation, inputsOf } from './fold.js';

/** The values that are alive, by name. */
export type Values = ReadonlyMap<string, Tensor>;

/** After which operation each value is no longer needed. */
export function lastUses(operations: readonly FoldedOperation[]): Map<string, string> {
  return new Map(operations.flatMap((operation) => inputsOf(operation).map((value) => [value, operation.name] as const)));
}

/**
 * Runs operations one after another and lets go of each value after its last use. Takes over `first`.
 * @param lastUse of `lastUses`
 */
export function runOperations<Operation extends FoldedOperation>(operations: readonly Operation[], name: string, first: Tensor, lastUse: ReadonlyMap<string, string>, compute: (operation: Operation, values: Values) => Tensor): Tensor {
  const values = new Map([[name, first]]);
  for (const operation of operations) {
    values.set(operation.name, compute(operation, values));
    for (const input of new Set(inputsOf(operation))) {
      if (lastUse.get(input) !== operation.name) continue;
      values.get(input)!.dispose();
      values.delete(input);
    }
  }
  return values.get(operations.at(-1)!.name)!;
}

const NONE = { values: new Float32Array(0), shape: [] };
/** The values live on the backend: the host's may go. */
export const withoutWeights = <Operation extends FoldedOperation>(operation: Operation): Operation => ('weight' in operation ? { ...operation, weight: NONE, bias: NONE.values } : operation);
