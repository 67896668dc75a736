import { type Tensor, tensor } from '@tensorflow/tfjs-core';
import { type Precision, hasKernel, release, runKernel } from '../ops/kernels.js';
import { STEM_POOL, maxPool } from '../ops/pooling.js';
import { toPrecision } from '../ops/precision.js';
import { type ActivationThresholds, isQuantized, isSigned, scaleOf } from './calibration.js';
import type { FoldedOperation } from './fold.js';
import { type Convolution, type FusedConvolution, fusedConvolution } from './fused-convolution.js';
import { PICTURES } from './network.js';
import { lastUses, runOperations, withoutWeights } from './operations.js';

export type BodyOperation = Extract<FoldedOperation, { kind: 'convolution' | 'max-pool' }>;

/** What computes a folded network up to layer4. */
export interface Body {
  /** Pictures [batch, height, width, 3], which stay the caller's → layer4's output. */
  run(pictures: Tensor): Tensor;
  dispose(): void;
}

/**
 * All of it in one call where the backend has the kernel, else operation by operation.
 * @param precision of all values, or, with thresholds, of those that are not held in bytes
 * @param thresholds of `calibrate`: most values and filters are held in bytes; the backend must have `PreparedNetworkInBytes`
 */
export function makeBody(operations: readonly BodyOperation[], precision: Precision, thresholds: ActivationThresholds | null): Body {
  return hasKernel('PrepareNetwork') ? preparedBody(operations, precision, thresholds) : new StepwiseBody(operations, precision);
}

function preparedBody(operations: readonly BodyOperation[], precision: Precision, thresholds: ActivationThresholds | null): Body {
  const numbers = new Map([PICTURES, ...operations.map(({ name }) => name)].map((name, i) => [name, i]));
  const numberOf = (name: string) => numbers.get(name)!;
  const steps = operations.map((operation) => {
    const between = { input: numberOf(operation.input), output: numberOf(operation.name) };
    if (operation.kind === 'max-pool') return { kind: operation.kind, ...between };
    const { kind, add, relu, strides, padding } = operation;
    return { kind, ...between, add: add === null ? -1 : numberOf(add), relu, strides, padding };
  });
  const wide = { scale: 0, signed: true };
  const values = [wide, ...operations.map((operation) => (thresholds !== null && isQuantized(operation, operations) ? { scale: scaleOf(operation, operations, thresholds), signed: isSigned(operation, operations) } : wide))];
  const convolutions = operations.filter((operation): operation is Convolution => operation.kind === 'convolution');
  const filters = convolutions.map(({ weight }) => tensor(weight.values, weight.shape)), biases = convolutions.map(({ bias }) => tensor(bias));
  const network = runKernel<Tensor>('PrepareNetwork', { filters, biases }, { steps, values, precision });
  release(...filters, ...biases);
  const kernel = thresholds === null ? 'PreparedNetwork' : 'PreparedNetworkInBytes';
  return { run: (x) => runKernel<Tensor>(kernel, { network, x }), dispose: () => network.dispose() };
}

/** One operation after another, which can be watched. */
export class StepwiseBody implements Body {
  readonly #convolutions: Map<string, FusedConvolution>;
  readonly #operations: readonly BodyOperation[];
  readonly #lastUse: ReadonlyMap<string, string>;

  constructor(operations: readonly BodyOperation[], private readonly precision: Precision) {
    this.#operations = operations.map(withoutWeights);
    this.#lastUse = lastUses(operations);
    this.#convolutions = new Map(operations.flatMap((operation) => (operation.kind === 'convolution' ? [[operation.name, fusedConvolution(operation, precision)]] : [])));
  }

  /** @param watch is shown every value once, and leaves it alone */
  run(pictures: Tensor, watch: (operation: BodyOperation, value: Tensor) => void = () => undefined): Tensor {
    return runOperations(this.#operations, PICTURES, toPrecision(pictures, this.precision), this.#lastUse, (operation, values) => {
      const x = values.get(operation.input)!;
      const y = operation.kind === 'max-pool' ? maxPool(x, STEM_POOL) : this.#convolutions.get(operation.name)!.run(x, operation.add === null ? null : values.get(operation.add)!);
      watch(operation, y);
      return y;
    });
  }

  dispose(): void {
    for (const convolution of this.#convolutions.values()) convolution.dispose();
  }
}
