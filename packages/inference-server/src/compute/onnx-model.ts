import { createRequire } from 'node:module';
import { type ModelCard, type Precision, UserError, messageOf, readSafetensors } from '@chameleon/core';
import type * as Runtime from 'onnxruntime-node';
import { writeOnnx } from '../exports/onnx.js';
import { channelsFirst } from '../exports/run-exported.js';
import { readModelFolder } from '../models/model-folder.js';
import type { EngineChoice, HeatMap, PrecisionChoice } from './messages.js';
import { giveMemoryBack, openServedModel } from './open-model.js';
import { type ServedModel, withoutInt8 } from './served-model.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

type OnnxRuntime = typeof Runtime;

/**
 * A classifier that ONNX Runtime computes, for machines without libtorch. The network is made of the bundle's weights each time it is
 * opened, by the exporter, after their digest was checked: no file that lies about is trusted. ONNX Runtime has no gradients, so
 * heat maps are computed by a backend of TensorFlow.js, opened when the first is asked for.
 */
export class OnnxModel {
  readonly precision: Precision = 'float32';
  #explaining: Promise<ServedModel> | undefined;

  private constructor(private readonly runtime: OnnxRuntime, private readonly session: Runtime.InferenceSession, readonly card: ModelCard, private readonly folder: string, private readonly gradients: EngineChoice) {}

  /** @throws UserError when the folder holds no whole model, ONNX Runtime doesn't take it, or int8 was asked for */
  static async open(folder: string, precision: PrecisionChoice, threads: number, { module, gradients }: EngineChoice): Promise<OnnxModel> {
    if (precision === 'int8') throw withoutInt8();
    if (!gradients) throw new Error('ONNX Runtime needs a backend for gradients');
    const { default: runtime } = (await import(module)) as { default: OnnxRuntime };
    const { card, weights, weightsPath } = await readModelFolder(folder);
    const bytes = writeOnnx(card, readSafetensors(weights, weightsPath).tensors, version);
    const session = await runtime.InferenceSession.create(bytes, { intraOpNumThreads: threads, graphOptimizationLevel: 'all' }).catch((error: unknown) => {
      throw new UserError(`ONNX Runtime does not take the model in ${folder} (${messageOf(error)}). Choose another --backend.`, { cause: error });
    });
    return new OnnxModel(runtime, session, card, folder, gradients);
  }

  /** Normalised pictures, [size, size, 3] each → probabilities, [pictures, classes]. */
  async predict(pictures: readonly Float32Array[]): Promise<Float32Array> {
    const { imageSize } = this.card;
    const pixels = new Float32Array(pictures.length * imageSize * imageSize * 3);
    pictures.forEach((picture, i) => pixels.set(channelsFirst(picture, imageSize), i * picture.length));
    const { probabilities } = await this.session.run({ pictures: new this.runtime.Tensor('float32', pixels, [pictures.length, 3, imageSize, imageSize]) }, ['probabilities']);
    return probabilities!.data as Float32Array;
  }

  /** Grad-CAM, as `ServedModel.explain`. */
  async explain(picture: Float32Array, classIndex: number | null): Promise<{ probabilities: Float32Array; classIndex: number; heat: HeatMap }> {
    this.#explaining ??= openServedModel(this.folder, 'float32', this.gradients);
    return (await this.#explaining).explain(picture, classIndex);
  }

  async dispose(): Promise<void> {
    await this.session.release();
    const explaining = await this.#explaining?.catch(() => null);
    if (!explaining) return;
    explaining.dispose();
    await giveMemoryBack(this.gradients);
  }
}
