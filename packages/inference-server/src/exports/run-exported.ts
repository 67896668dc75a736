import { type Classifier, type ModelCard, UserError, createClassifier, inference, loadStateDict, readSafetensors, release } from '@chameleon/core';
import { type Tensor, io, softmax, tensor } from '@tensorflow/tfjs-core';
import type { GraphModel } from './graph-model.js';

/** Runs what was exported, with the engine that its users will take: normalised pictures, [size, size, 3] each → probabilities, [pictures, classes]. */
export type Runner = (pictures: readonly Float32Array[]) => Promise<Float32Array>;

const BATCH_SIZE = 8;

/** The classifier itself in float32, as evaluation runs it. */
export async function probabilitiesOf(model: Classifier, { imageSize }: ModelCard, pictures: readonly Float32Array[]): Promise<Float32Array> {
  return inBatches(pictures, async (batch) => {
    const input = tensor(joined(batch), [batch.length, imageSize, imageSize, 3]);
    const logits = model.forward(input, inference('float32')), probabilities = softmax(logits);
    try {
      return probabilities.dataSync() as Float32Array;
    } finally {
      release(input, logits, probabilities);
    }
  });
}

/** A state dictionary, read again from the bytes that were written. */
export function safetensorsRunner(bytes: Uint8Array, card: ModelCard): Runner {
  return async (pictures) => {
    const model = createClassifier({ architecture: card.architecture, classCount: card.classes.length, head: card.head, seed: 0, bodyIsLoaded: true });
    try {
      loadStateDict(model, readSafetensors(bytes).tensors, { scope: 'all', name: 'The exported file' });
      return await probabilitiesOf(model, card, pictures);
    } finally {
      model.dispose();
    }
  };
}

/** ONNX Runtime on the processor. */
export function onnxRunner(bytes: Uint8Array, { imageSize }: ModelCard): Runner {
  return async (pictures) => {
    const { InferenceSession, Tensor: OnnxTensor } = await import('onnxruntime-node').catch((error: unknown) => {
      throw missing('ONNX', 'onnxruntime-node', error);
    });
    const session = await InferenceSession.create(bytes);
    try {
      return await inBatches(pictures, async (batch) => {
        const input = new OnnxTensor('float32', joined(batch.map((picture) => channelsFirst(picture, imageSize))), [batch.length, 3, imageSize, imageSize]);
        const { probabilities } = await session.run({ pictures: input });
        return probabilities!.data as Float32Array;
      });
    } finally {
      await session.release();
    }
  };
}

/** TensorFlow.js's executor of graph models, on the backend in use. */
export function graphModelRunner({ json, specs, weights }: GraphModel, { imageSize }: ModelCard): Runner {
  return async (pictures) => {
    const { loadGraphModel } = await import('@tensorflow/tfjs-converter').catch((error: unknown) => {
      throw missing('graph', '@tensorflow/tfjs-converter', error);
    });
    const { modelTopology, ...rest } = json;
    const graph = await loadGraphModel(io.fromMemory({ ...rest, modelTopology, weightSpecs: specs, weightData: Uint8Array.from(weights).buffer } as io.ModelArtifacts));
    try {
      return await inBatches(pictures, async (batch) => {
        const input = tensor(joined(batch), [batch.length, imageSize, imageSize, 3]);
        const probabilities = graph.execute({ pictures: input }, 'probabilities') as Tensor;
        try {
          return (await probabilities.data()) as Float32Array;
        } finally {
          release(input, probabilities);
        }
      });
    } finally {
      graph.dispose();
    }
  };
}

const missing = (kind: string, name: string, cause: unknown) => new UserError(`The exported ${kind} model can't be compared with ours: ${name} is not installed. Run \`npm install ${name}\`, and export again.`, { cause });

async function inBatches(pictures: readonly Float32Array[], run: (batch: readonly Float32Array[]) => Promise<Float32Array>): Promise<Float32Array> {
  const rows: Float32Array[] = [];
  for (let start = 0; start < pictures.length; start += BATCH_SIZE) rows.push(await run(pictures.slice(start, start + BATCH_SIZE)));
  return joined(rows);
}

function joined(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** [size, size, 3] → [3, size, size]. */
export function channelsFirst(picture: Float32Array, size: number): Float32Array {
  const planes = new Float32Array(picture.length), positions = size * size;
  for (let p = 0; p < positions; p++) for (let c = 0; c < 3; c++) planes[c * positions + p] = picture[3 * p + c]!;
  return planes;
}
