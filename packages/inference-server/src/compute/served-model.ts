import { type Classifier, type ModelCard, type Pass, type Precision, Tape, createClassifier, inference, loadStateDict, readSafetensors, release, supportsPrecision, toPrecision } from '@chameleon/core';
import { type Tensor, add, concat, max, mean, mul, reshape, softmax, split, sum, tensor, tidy } from '@tensorflow/tfjs-core';
import { readModelFolder } from '../models/model-folder.js';
import { indexOfLargest } from './largest.js';
import type { HeatMap, PrecisionChoice } from './messages.js';

/** A classifier that only answers: nothing of it learns. The caller disposes it. */
export class ServedModel {
  private constructor(readonly model: Classifier, readonly card: ModelCard, readonly precision: Precision) {}

  /**
   * Opens a model folder on the backend in use.
   * @param precision `auto`: the one that it was trained in, where the backend has it, else float32
   * @throws UserError when the folder holds no whole model
   */
  static async open(folder: string, precision: PrecisionChoice): Promise<ServedModel> {
    const { card, weights, weightsPath } = await readModelFolder(folder);
    const model = createClassifier({ architecture: card.architecture, classCount: card.classes.length, head: card.head, seed: 0, bodyIsLoaded: true });
    try {
      loadStateDict(model, readSafetensors(weights, weightsPath).tensors, { scope: 'all', name: weightsPath });
    } catch (error) {
      model.dispose();
      throw error;
    }
    for (const parameter of model.parameters()) parameter.trainable = false;
    const chosen = precision === 'auto' ? card.precision : precision;
    return new ServedModel(model, card, supportsPrecision(chosen) ? chosen : 'float32');
  }

  /** Normalised pictures, [size, size, 3] each → probabilities, [pictures, classes]. */
  predict(pictures: readonly Float32Array[]): Float32Array {
    const input = this.#batch(pictures);
    const logits = this.model.forward(input, inference(this.precision));
    const probabilities = softmax(logits);
    try {
      return probabilities.dataSync() as Float32Array;
    } finally {
      release(input, logits, probabilities);
    }
  }

  /**
   * Grad-CAM (Selvaraju and others, 2017): layer4's channels weighted by the mean gradient of the class's logit, summed, negative
   * parts cut off, divided by the largest value. In float32 from layer4 on.
   * @param classIndex null: the most probable class
   */
  explain(picture: Float32Array, classIndex: number | null): { probabilities: Float32Array; classIndex: number; heat: HeatMap } {
    const input = this.#batch([picture]);
    const narrow = this.model.features(input, inference(this.precision));
    const features = toPrecision(narrow, 'float32');
    const tape = new Tape(true);
    const pass: Pass = { tape, training: false, precision: 'float32' };
    const pooled = this.#pool(features);
    const logits = this.model.stages.get('fc')!.forward(pooled, pass);
    try {
      const probabilities = tidy(() => softmax(logits).dataSync() as Float32Array);
      const chosen = classIndex ?? indexOfLargest(probabilities);
      const oneHot = new Float32Array(probabilities.length);
      oneHot[chosen] = 1;
      const slope = tape.walk(tensor(oneHot, [1, oneHot.length]))!;
      const heat = tidy(() => sum(mul(features, this.#channelWeights(slope)), 3).dataSync() as Float32Array);
      slope.dispose();
      const [, height, width] = features.shape as [number, number, number, number];
      return { probabilities, classIndex: chosen, heat: { values: scaleToOne(heat), height, width } };
    } finally {
      release(input, narrow, features, pooled, logits);
    }
  }

  dispose(): void {
    this.model.dispose();
  }

  #batch(pictures: readonly Float32Array[]): Tensor {
    const { imageSize } = this.card;
    const pixels = new Float32Array(pictures.length * imageSize * imageSize * 3);
    pictures.forEach((picture, i) => pixels.set(picture, i * imageSize * imageSize * 3));
    return tensor(pixels, [pictures.length, imageSize, imageSize, 3]);
  }

  /** The classifier's own pooling: the mean, and for the deep head the maximum beside it. */
  #pool(features: Tensor): Tensor {
    return tidy(() => (this.model.head === 'deep' ? concat([mean(features, [1, 2]), max(features, [1, 2])], 1) : mean(features, [1, 2])));
  }

  /**
   * The mean over all positions of the gradient of layer4's output, up to the factor 1 / positions, which the scaling takes away:
   * averaging spreads its gradient over the positions, the maximum hands all of it to one of them.
   */
  #channelWeights(slope: Tensor): Tensor {
    if (this.model.head !== 'deep') return reshape(slope, [1, 1, 1, -1]);
    const [ofMean, ofMax] = split(slope, 2, 1) as [Tensor, Tensor];
    return reshape(add(ofMean, ofMax), [1, 1, 1, -1]);
  }
}

function scaleToOne(values: Float32Array): Float32Array {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, value);
  return values.map((value) => (largest > 0 ? Math.max(0, value) / largest : 0));
}
