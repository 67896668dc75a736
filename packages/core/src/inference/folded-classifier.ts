import { type Tensor, add, concat, matMul, mul, relu, step, tensor, tidy, transpose } from '@tensorflow/tfjs-core';
import { filterFromMemory } from '../models/builder.js';
import type { Classifier } from '../models/classifier.js';
import { conv2d } from '../ops/convolution.js';
import { type Precision, hasKernel, release, runKernel } from '../ops/kernels.js';
import { globalAveragePool, globalMaxPool, maxPool } from '../ops/pooling.js';
import { toPrecision } from '../ops/precision.js';
import { stateDictOf } from '../weights/state-dict.js';
import { type FoldedOperation, foldNetwork, inputsOf } from './fold.js';
import { PICTURES, networkOf } from './network.js';

type Convolution = Extract<FoldedOperation, { kind: 'convolution' }>;

/** A convolution with its bias, a sum and ReLU, on the backend in use. */
interface FusedConvolution {
  /** Overwrites and takes over `summand` where there is one; x stays the caller's. */
  run(x: Tensor, summand: Tensor | null): Tensor;
  dispose(): void;
}

/**
 * A classifier that only answers: no BatchNorm, no tape, and on backends that have the kernel, filters laid out once as the processor wants
 * them with sum and ReLU in the same pass. The body computes in its precision, the head in float32.
 */
export class FoldedClassifier {
  readonly #convolutions = new Map<string, FusedConvolution>();
  readonly #linear = new Map<string, { weight: Tensor; bias: Tensor }>();
  /** After which operation a value is no longer needed. */
  readonly #lastUse = new Map<string, string>();
  readonly #body: readonly FoldedOperation[];
  readonly #head: readonly FoldedOperation[];

  /** @param operations of `foldNetwork`; they may be forgotten afterwards */
  constructor(operations: readonly FoldedOperation[], readonly precision: Precision) {
    const end = operations.findIndex((operation) => operation.kind === 'average');
    [this.#body, this.#head] = [operations.slice(0, end).map(withoutWeights), operations.slice(end).map(withoutWeights)];
    for (const operation of operations) {
      for (const value of inputsOf(operation)) this.#lastUse.set(value, operation.name);
      if (operation.kind === 'convolution') this.#convolutions.set(operation.name, fusedConvolution(operation, precision));
      if (operation.kind === 'linear') this.#linear.set(operation.name, { weight: tensor(operation.weight.values, operation.weight.shape), bias: tensor(operation.bias) });
    }
  }

  /** Normalised pictures [batch, height, width, 3] → logits [batch, classes] in float32. */
  forward(pictures: Tensor): Tensor {
    return this.#run(this.#head, this.#body.at(-1)!.name, this.features(pictures));
  }

  /** What layer4 gives: [batch, height / 32, width / 32, channels] in this precision. The pictures stay the caller's. */
  features(pictures: Tensor): Tensor {
    return this.#run(this.#body, PICTURES, toPrecision(pictures, this.precision));
  }

  /** The logits [batch, classes] of what layer4 gave, which stays the caller's. */
  classify(features: Tensor): Tensor {
    return this.#run(this.#head, this.#body.at(-1)!.name, features.clone());
  }

  /**
   * The gradient of one class's logit by the pooled features: [1, channels], for the deep head first by the means, then by the maxima.
   * @param features of one picture
   */
  classSlope(features: Tensor, classIndex: number): Tensor {
    return tidy(() => {
      const values = new Map([[this.#body.at(-1)!.name, features]]);
      for (const operation of this.#head) values.set(operation.name, this.#compute(operation, values));
      const layers = this.#head.filter((operation) => operation.kind === 'linear').reverse();
      const classCount = this.#linear.get(layers[0]!.name)!.bias.size;
      return layers.reduce<Tensor>((slope, { name, relu: positive }) => matMul(positive ? mul(slope, step(values.get(name)!)) : slope, this.#linear.get(name)!.weight), tensor(Float32Array.from({ length: classCount }, (_, i) => Number(i === classIndex)), [1, classCount]));
    });
  }

  dispose(): void {
    for (const convolution of this.#convolutions.values()) convolution.dispose();
    for (const { weight, bias } of this.#linear.values()) release(weight, bias);
  }

  /** Runs operations one after another and lets go of each value after its last use. Takes over `first`. */
  #run(operations: readonly FoldedOperation[], name: string, first: Tensor): Tensor {
    const values = new Map([[name, first]]);
    for (const operation of operations) {
      values.set(operation.name, this.#compute(operation, values));
      for (const input of new Set(inputsOf(operation))) {
        if (this.#lastUse.get(input) !== operation.name) continue;
        values.get(input)!.dispose();
        values.delete(input);
      }
    }
    return values.get(operations.at(-1)!.name)!;
  }

  #compute(operation: FoldedOperation, values: ReadonlyMap<string, Tensor>): Tensor {
    const x = values.get(operation.input)!;
    switch (operation.kind) {
      case 'convolution':
        return this.#convolutions.get(operation.name)!.run(x, operation.add === null ? null : values.get(operation.add)!);
      case 'linear': {
        const { weight, bias } = this.#linear.get(operation.name)!;
        return linear(x, weight, bias, operation.relu);
      }
      case 'max-pool':
        return largestOfWindows(x);
      case 'average':
      case 'largest': {
        const wide = toPrecision(x, 'float32');
        const y = operation.kind === 'average' ? globalAveragePool(wide) : globalMaxPool(wide);
        wide.dispose();
        return y;
      }
      case 'concatenation':
        return concat([x, values.get(operation.other)!], 1);
      default:
        return operation satisfies never;
    }
  }
}

/** A trained classifier, folded; it stays as it is, and changes of it don't reach the folded one. */
export const foldClassifier = (model: Classifier, precision: Precision): FoldedClassifier => new FoldedClassifier(foldNetwork(networkOf(model.architecture, model.head), stateDictOf(model)), precision);

const NONE = { values: new Float32Array(0), shape: [] };
/** The values live on the backend: the host's may go. */
const withoutWeights = (operation: FoldedOperation): FoldedOperation => ('weight' in operation ? { ...operation, weight: NONE, bias: NONE.values } : operation);

/** By the backend's own kernel where it has one. */
function fusedConvolution(operation: Convolution, precision: Precision): FusedConvolution {
  return hasKernel('PrepareConvolution') ? preparedConvolution(operation, precision) : composedConvolution(operation, precision);
}

function preparedConvolution({ weight, bias, strides, padding, relu: positive }: Convolution, precision: Precision): FusedConvolution {
  const given = { filter: tensor(weight.values, weight.shape), bias: tensor(bias) };
  const prepared = runKernel<Tensor>('PrepareConvolution', given, { strides, padding, precision });
  release(given.filter, given.bias);
  return {
    run: (x, summand) => runKernel<Tensor>('PreparedConvolution', { prepared, x, ...(summand ? { summand } : {}) }, { relu: positive }),
    dispose: () => prepared.dispose(),
  };
}

function composedConvolution({ weight, bias, strides, padding, relu: positive }: Convolution, precision: Precision): FusedConvolution {
  const filter = narrowed(filterOf(weight.values, weight.shape as [number, number, number, number]), precision), summed = narrowed(tensor(bias), precision);
  const geometry = { strides, padding };
  return {
    run: (x, summand) => {
      const product = conv2d(x, filter, geometry);
      const biased = add(product, summed);
      const total = summand ? add(biased, summand) : biased;
      const y = positive ? relu(total) : total.clone();
      release(product, biased, ...(summand ? [total] : []));
      return y;
    },
    dispose: () => release(filter, summed),
  };
}

function narrowed(wide: Tensor, precision: Precision): Tensor {
  const narrow = toPrecision(wide, precision);
  wide.dispose();
  return narrow;
}

/** [out, in, height, width] → our [height, width, in, out]. */
function filterOf(values: Float32Array, [outputs, inputs, height, width]: [number, number, number, number]): Tensor {
  const stored = tensor(values, [outputs, inputs, height, width]), ordered = transpose(stored, [0, 2, 3, 1]);
  const filter = filterFromMemory(ordered.dataSync() as Float32Array, [outputs, height, width, inputs]);
  release(stored, ordered);
  return filter;
}

function largestOfWindows(x: Tensor): Tensor {
  const { y, indices } = maxPool(x, { filterSize: 3, strides: 2, pad: 1 });
  indices?.dispose();
  return y;
}

function linear(x: Tensor, weight: Tensor, bias: Tensor, positive: boolean): Tensor {
  const product = matMul(x, weight, false, true), sum = add(product, bias);
  const y = positive ? relu(sum) : sum.clone();
  release(product, sum);
  return y;
}
