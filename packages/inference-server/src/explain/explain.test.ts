import { type Classifier, inference } from '@chameleon/core';
import { preprocess } from '@chameleon/data';
import { type Tensor, add, concat, max, mean, memory, mul, sum, tensor, tidy } from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { ServedModel } from '../compute/served-model.js';
import { openClassifier } from '../models/model-folder.js';
import { explainAnswerSchema } from '../schemas.js';
import { temporaryFolder, useLibtorch, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { formOf, startTestServer } from '../testing/server.js';
import { seenRegion } from './explain.js';

/** The class's logit from layer4's output, without any of the code under test. */
function logitOf(model: Classifier, features: Tensor, classIndex: number): number {
  return tidy(() => {
    const pooled = model.head === 'deep' ? concat([mean(features, [1, 2]), max(features, [1, 2])], 1) : mean(features, [1, 2]);
    return model.stages.get('fc')!.forward(pooled, inference('float32')).dataSync()[classIndex]!;
  });
}

/** Grad-CAM by its definition: each channel's mean gradient from differences of the logit when the whole channel is shifted. */
function byDifferences(model: Classifier, imageSize: number, picture: Float32Array, classIndex: number): number[] {
  return tidy(() => {
    const features = model.features(tensor(picture, [1, imageSize, imageSize, 3]), inference('float32'));
    const channels = features.shape[3]!, step = 0.004;
    const weights = Float32Array.from({ length: channels }, (_, channel) => {
      const shift = new Float32Array(channels);
      shift[channel] = step;
      const up = logitOf(model, add(features, tensor(shift)), classIndex);
      shift[channel] = -step;
      return (up - logitOf(model, add(features, tensor(shift)), classIndex)) / (2 * step);
    });
    const heat = [...sum(mul(features, tensor(weights)), 3).dataSync()].map((value) => Math.max(0, value));
    return heat.map((value) => value / Math.max(...heat, 1e-12));
  });
}

describe('Grad-CAM', () => {
  test.each(['linear', 'deep'] as const)('of a %s head equals the gradient by differences, and leaves no tensor behind', async (head) => {
    await using folder = await temporaryFolder();
    await writeRandomModel(folder.path, { head, imageSize: 96 });
    await useLibtorch();
    const served = await ServedModel.open(folder.path, 'float32'), { model } = await openClassifier(folder.path);
    const picture = await preprocess(await drawPicture(4, { width: 200, height: 150 }), 96, served.card.normalization);
    // What the model of the comparison keeps of its filters is made.
    byDifferences(model, 96, picture, 0);
    const tensors = memory().numTensors;
    for (const classIndex of [0, 1, 2]) {
      const { heat, probabilities, classIndex: explained } = served.explain(picture, classIndex);
      expect([heat.height, heat.width, explained]).toEqual([3, 3, classIndex]);
      expect([...probabilities].map((p) => p.toFixed(5))).toEqual([...served.predict([picture])].map((p) => p.toFixed(5)));
      byDifferences(model, 96, picture, classIndex).forEach((value, i) => expect(heat.values[i]).toBeCloseTo(value, 2));
    }
    expect(memory().numTensors).toBe(tensors);
    served.dispose();
    model.dispose();
  });

  test('comes over HTTP with the picture\'s classes, as a PNG for the region that the model saw', async () => {
    await using folder = await temporaryFolder();
    const card = await writeRandomModel(folder.path);
    await using server = await startTestServer({ models: [{ path: folder.path }] });
    const ask = (query: string) => drawPicture(4, { width: 300, height: 150 }).then((picture) => fetch(`${server.url}/v1/explain${query}`, { method: 'POST', body: formOf(picture) }));
    const [prediction] = explainAnswerSchema.parse(await (await ask('')).json()).predictions;
    expect(prediction!.heatmap.label).toBe(prediction!.classes[0]!.label);
    expect(prediction!.heatmap.region).toEqual(seenRegion({ width: 300, height: 150 }, card.imageSize));
    const { width, height, format, hasAlpha } = await sharp(Buffer.from(prediction!.heatmap.png_base64, 'base64')).metadata();
    expect([width, height, format, hasAlpha]).toEqual([64, 64, 'png', true]);
    expect(explainAnswerSchema.parse(await (await ask('?label=unclear')).json()).predictions[0]!.heatmap.label).toBe('unclear');
    const refused = await ask('?label=uncler');
    expect([refused.status, ((await refused.json()) as { detail: string }).detail]).toEqual([400, 'The model has no class uncler. Did you mean unclear?']);
  });
});

test('the region that the model saw is the centre crop in the picture\'s own pixels', () => {
  const { left, top, width, height } = seenRegion({ width: 256, height: 512 }, 224);
  expect([left, top, width, height]).toEqual([16, 144, 224, 224]);
});
