import { type Classifier, type ModelCard, type Precision, inference, release } from '@chameleon/core';
import { PictureError, preprocess } from '@chameleon/data';
import { softmax, tensor } from '@tensorflow/tfjs-core';

export interface FilePrediction {
  path: string;
  /** Most probable first. */
  classes: { label: string; probability: number }[];
}

export interface FileFailure {
  path: string;
  problem: string;
}

/** Classifies picture files, some at a time, in the order given; a bad one is an answer of its own. */
export async function* predictFiles(model: Classifier, card: ModelCard, paths: readonly string[], { precision, batchSize = 16, topK = 5 }: { precision: Precision; batchSize?: number; topK?: number }): AsyncGenerator<FilePrediction | FileFailure> {
  for (let start = 0; start < paths.length; start += batchSize) {
    const group = paths.slice(start, start + batchSize);
    const decoded = await Promise.all(group.map((path) => preprocess(path, card.imageSize, card.normalization).catch(faultOf)));
    const whole = decoded.filter((pixels) => pixels instanceof Float32Array);
    const probabilities = whole.length === 0 ? new Float32Array(0) : classify(model, whole, card.imageSize, precision);
    let row = 0;
    for (const [i, pixels] of decoded.entries()) {
      if (pixels instanceof Float32Array) yield { path: group[i]!, classes: rank(probabilities.subarray(row * card.classes.length, ++row * card.classes.length), card.classes, topK) };
      else yield { path: group[i]!, problem: pixels };
    }
  }
}

/** Normalised pictures [size, size, 3] each → probabilities [pictures, classes]. */
export function classify(model: Classifier, pictures: readonly Float32Array[], imageSize: number, precision: Precision): Float32Array {
  const pixels = new Float32Array(pictures.length * imageSize * imageSize * 3);
  pictures.forEach((picture, i) => pixels.set(picture, i * picture.length));
  const input = tensor(pixels, [pictures.length, imageSize, imageSize, 3]);
  const logits = model.forward(input, inference(precision));
  const probabilities = softmax(logits);
  try {
    return probabilities.dataSync() as Float32Array;
  } finally {
    release(input, logits, probabilities);
  }
}

function rank(probabilities: Float32Array, labels: readonly string[], topK: number): FilePrediction['classes'] {
  return labels.map((label, i) => ({ label, probability: probabilities[i]! })).sort((a, b) => b.probability - a.probability).slice(0, topK);
}

function faultOf(error: unknown): string {
  if (error instanceof PictureError) return error.problem;
  throw error;
}
