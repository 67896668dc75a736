import { type FoldedClassifier, type ModelCard, type Precision, type ServedPrecision, UserError, foldClassifier, release, supportsInt8, supportsPrecision } from '@chameleon/core';
import { type Tensor, add, mul, reshape, softmax, split, sum, tensor, tidy } from '@tensorflow/tfjs-core';
import { readCalibration } from '../models/calibration-file.js';
import { openClassifier } from '../models/model-folder.js';
import { indexOfLargest } from './largest.js';
import type { HeatMap, PrecisionChoice } from './messages.js';

/** For an engine that does not compute in bytes, where they were asked for. */
export const withoutInt8 = (): UserError => new UserError('int8 is not to be had here: it needs the backend libtorch with oneDNN 2, and a processor with VNNI. Choose bfloat16 or float32.');

/** A classifier that only answers: folded, nothing of it learns. The caller disposes it. */
export class ServedModel {
  private constructor(private readonly folded: FoldedClassifier, readonly card: ModelCard, readonly precision: ServedPrecision) {}

  /**
   * Opens a model folder on the backend in use.
   * @param precision `auto`: the one that it was trained in, where the backend has it, else float32; `int8` needs the folder's calibration
   * @throws UserError when the folder holds no whole model, or int8 was asked for and can't be had
   */
  static async open(folder: string, precision: PrecisionChoice): Promise<ServedModel> {
    if (precision === 'int8' && !supportsInt8()) throw withoutInt8();
    const { model, card } = await openClassifier(folder);
    try {
      if (precision === 'int8') return new ServedModel(foldClassifier(model, precision, (await readCalibration(folder, card)).thresholds), card, precision);
      const wanted: Precision = precision === 'auto' ? card.precision : precision;
      const chosen = supportsPrecision(wanted) ? wanted : 'float32';
      return new ServedModel(foldClassifier(model, chosen), card, chosen);
    } finally {
      model.dispose();
    }
  }

  /** Normalised pictures, [size, size, 3] each → probabilities, [pictures, classes]. */
  predict(pictures: readonly Float32Array[]): Float32Array {
    const input = this.#batch(pictures);
    const logits = this.folded.forward(input);
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
    const features = this.folded.features(input);
    const logits = this.folded.classify(features);
    try {
      const probabilities = tidy(() => softmax(logits).dataSync() as Float32Array);
      const chosen = classIndex ?? indexOfLargest(probabilities);
      const slope = this.folded.classSlope(features, chosen);
      const heat = tidy(() => sum(mul(features, this.#channelWeights(slope)), 3).dataSync() as Float32Array);
      slope.dispose();
      const [, height, width] = features.shape as [number, number, number, number];
      return { probabilities, classIndex: chosen, heat: { values: scaleToOne(heat), height, width } };
    } finally {
      release(input, features, logits);
    }
  }

  dispose(): void {
    this.folded.dispose();
  }

  #batch(pictures: readonly Float32Array[]): Tensor {
    const { imageSize } = this.card;
    const pixels = new Float32Array(pictures.length * imageSize * imageSize * 3);
    pictures.forEach((picture, i) => pixels.set(picture, i * imageSize * imageSize * 3));
    return tensor(pixels, [pictures.length, imageSize, imageSize, 3]);
  }

  /**
   * The mean over all positions of the gradient of layer4's output, up to the factor 1 / positions, which the scaling takes away:
   * averaging spreads its gradient over the positions, the maximum hands all of it to one of them.
   */
  #channelWeights(slope: Tensor): Tensor {
    if (this.card.head !== 'deep') return reshape(slope, [1, 1, 1, -1]);
    const [ofMean, ofMax] = split(slope, 2, 1) as [Tensor, Tensor];
    return reshape(add(ofMean, ofMax), [1, 1, 1, -1]);
  }
}

function scaleToOne(values: Float32Array): Float32Array {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, value);
  return values.map((value) => (largest > 0 ? Math.max(0, value) / largest : 0));
}
