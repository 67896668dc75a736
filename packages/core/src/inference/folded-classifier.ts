import { type Tensor, add, concat, matMul, mul, relu, step, tensor, tidy } from '@tensorflow/tfjs-core';
import type { Classifier } from '../models/classifier.js';
import { type Precision, release } from '../ops/kernels.js';
import { globalAveragePool, globalMaxPool } from '../ops/pooling.js';
import { supportsPrecision, toPrecision } from '../ops/precision.js';
import { stateDictOf } from '../weights/state-dict.js';
import { type Body, type BodyOperation, makeBody } from './body.js';
import type { ActivationThresholds } from './calibration.js';
import { type FoldedOperation, foldNetwork } from './fold.js';
import { networkOf } from './network.js';
import { type Values, lastUses, runOperations, withoutWeights } from './operations.js';

type BodyKind = BodyOperation['kind'];
type HeadOperation = Exclude<FoldedOperation, { kind: BodyKind }>;
const isOfBody = (operation: FoldedOperation): operation is BodyOperation => operation.kind === 'convolution' || operation.kind === 'max-pool';

/** How a folded network computes: `int8` holds most of the body's values and filters in bytes. */
export type ServedPrecision = Precision | 'int8';

/**
 * A classifier that only answers: no BatchNorm, no tape, and on backends that have the kernel, filters laid out once as the processor wants
 * them with sum and ReLU in the same pass. The body computes in its precision, the head in float32.
 */
export class FoldedClassifier {
  readonly #linear = new Map<string, { weight: Tensor; bias: Tensor }>();
  readonly #body: Body;
  readonly #head: readonly HeadOperation[];
  readonly #lastUse: ReadonlyMap<string, string>;
  /** What the head calls them: what makes layer4's output, after folding. */
  readonly #features: string;

  /**
   * @param operations of `foldNetwork`; they may be forgotten afterwards
   * @param precision what is not in bytes is, with `int8`, in bfloat16 where the backend has it
   * @param thresholds of `calibrate`, which `int8` needs
   */
  constructor(operations: readonly FoldedOperation[], readonly precision: ServedPrecision, thresholds: ActivationThresholds | null = null) {
    if ((precision === 'int8') !== (thresholds !== null)) throw new Error('int8 and thresholds of the activations go together');
    const head = operations.filter((operation): operation is HeadOperation => !isOfBody(operation));
    this.#body = makeBody(operations.filter(isOfBody), precision !== 'int8' ? precision : supportsPrecision('bfloat16') ? 'bfloat16' : 'float32', thresholds);
    this.#head = head.map(withoutWeights);
    this.#features = operations.filter(isOfBody).at(-1)!.name;
    this.#lastUse = lastUses(head);
    for (const operation of head) if (operation.kind === 'linear') this.#linear.set(operation.name, { weight: tensor(operation.weight.values, operation.weight.shape), bias: tensor(operation.bias) });
  }

  /** Normalised pictures [batch, height, width, 3] → logits [batch, classes] in float32. */
  forward(pictures: Tensor): Tensor {
    return this.#classify(this.features(pictures));
  }

  /** What layer4 gives: [batch, height / 32, width / 32, channels] in the body's precision. The pictures stay the caller's. */
  features(pictures: Tensor): Tensor {
    return this.#body.run(pictures);
  }

  /** The logits [batch, classes] of what layer4 gave, which stays the caller's. */
  classify(features: Tensor): Tensor {
    return this.#classify(features.clone());
  }

  /**
   * The gradient of one class's logit by the pooled features: [1, channels], for the deep head first by the means, then by the maxima.
   * @param features of one picture
   */
  classSlope(features: Tensor, classIndex: number): Tensor {
    return tidy(() => {
      const values = new Map([[this.#features, features]]);
      for (const operation of this.#head) values.set(operation.name, this.#compute(operation, values));
      const layers = this.#head.filter((operation) => operation.kind === 'linear').reverse();
      const classCount = this.#linear.get(layers[0]!.name)!.bias.size;
      return layers.reduce<Tensor>((slope, { name, relu: positive }) => matMul(positive ? mul(slope, step(values.get(name)!)) : slope, this.#linear.get(name)!.weight), tensor(Float32Array.from({ length: classCount }, (_, i) => Number(i === classIndex)), [1, classCount]));
    });
  }

  dispose(): void {
    this.#body.dispose();
    for (const { weight, bias } of this.#linear.values()) release(weight, bias);
  }

  /** Takes over the features. */
  #classify(features: Tensor): Tensor {
    return runOperations(this.#head, this.#features, features, this.#lastUse, (operation, values) => this.#compute(operation, values));
  }

  #compute(operation: HeadOperation, values: Values): Tensor {
    const x = values.get(operation.input)!;
    switch (operation.kind) {
      case 'linear': {
        const { weight, bias } = this.#linear.get(operation.name)!;
        return linear(x, weight, bias, operation.relu);
      }
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
export const foldClassifier = (model: Classifier, precision: ServedPrecision, thresholds: ActivationThresholds | null = null): FoldedClassifier => new FoldedClassifier(foldNetwork(networkOf(model.architecture, model.head), stateDictOf(model)), precision, thresholds);

function linear(x: Tensor, weight: Tensor, bias: Tensor, positive: boolean): Tensor {
  const product = matMul(x, weight, false, true), sum = add(product, bias);
  const y = positive ? relu(sum) : sum.clone();
  release(product, sum);
  return y;
}
