import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Classifier, type ModelCard, inference, release } from '@chameleon/core';
import { preprocess } from '@chameleon/data';
import { softmax, tensor, tidy } from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { openClassifier } from './models/model-folder.js';
import { classifyAnswerSchema } from './schemas.js';
import { temporaryFolder, useLibtorch, writeRealModel } from './testing/models.js';
import { formOf, startTestServer } from './testing/server.js';

const data = process.env.CHAMELEON_TEST_DATA;
/** Of a probability. In bfloat16 the weights are rounded after BatchNorm is folded into them, so single roundings fall otherwise. */
const TOLERANCE = { float32: 1e-5, bfloat16: 0.03 } as const;

/** What evaluation's forward pass says of one picture. */
function evaluated(model: Classifier, { imageSize }: ModelCard, picture: Float32Array, precision: 'float32' | 'bfloat16'): Float32Array {
  const pixels = tensor(picture, [1, imageSize, imageSize, 3]), logits = model.forward(pixels, inference(precision));
  try {
    return tidy(() => softmax(logits).dataSync()) as Float32Array;
  } finally {
    release(pixels, logits);
  }
}

describe.skipIf(!data)('with real weights and photographs (set CHAMELEON_TEST_DATA to run)', () => {
  test.each(['float32', 'bfloat16'] as const)('answers in %s equal preprocessing and the forward pass, whatever the batches were', async (precision) => {
    await using folder = await temporaryFolder();
    const card = await writeRealModel(folder.path, data!, precision);
    const photographs = join(data!, 'images/hymenoptera/val/bees');
    const pictures = await Promise.all((await readdir(photographs)).sort().slice(0, 12).map((name) => readFile(join(photographs, name))));
    await using server = await startTestServer({ models: [{ path: folder.path }] });
    const answers = await Promise.all([pictures.slice(0, 5), pictures.slice(5, 6), pictures.slice(6)].map(async (group) => classifyAnswerSchema.parse(await (await fetch(`${server.url}/v1/classify?top_k=200`, { method: 'POST', body: formOf(...group) })).json())));
    await useLibtorch();
    const { model } = await openClassifier(folder.path);
    for (const [i, prediction] of answers.flatMap(({ predictions }) => predictions).entries()) {
      const expected = evaluated(model, card, await preprocess(pictures[i]!, card.imageSize, card.normalization), precision);
      for (const { label, probability } of prediction.classes) expect(Math.abs(probability - expected[card.classes.indexOf(label)]!)).toBeLessThan(TOLERANCE[precision]);
    }
    model.dispose();
  });
});
