import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ModelCard } from '@chameleon/core';
import { IMAGENET_NORMALIZATION, preprocess } from '@chameleon/data';
import { describe, expect, test } from 'vitest';
import { ServedModel } from './compute/served-model.js';
import { classifyAnswerSchema } from './schemas.js';
import { temporaryFolder, useLibtorch } from './testing/models.js';
import { formOf, startTestServer } from './testing/server.js';

const data = process.env.CHAMELEON_TEST_DATA;

describe.skipIf(!data)('with real weights and photographs (set CHAMELEON_TEST_DATA to run)', () => {
  test.each(['float32', 'bfloat16'] as const)('answers in %s equal preprocessing and the forward pass, whatever the batches were', async (precision) => {
    await using folder = await temporaryFolder();
    const weights = await readFile(join(data!, 'weights/resnet18-tiny.safetensors'));
    const card: ModelCard = {
      formatVersion: 1, name: 'tiny', architecture: 'resnet18', head: 'linear', classes: Array.from({ length: 200 }, (_, i) => `class-${i}`), imageSize: 64, normalization: IMAGENET_NORMALIZATION, precision,
      recipe: 'none', validAccuracy: null, runId: 'tiny', createdAt: new Date(0).toISOString(), weightsSha256: createHash('sha256').update(weights).digest('hex'),
    };
    await mkdir(folder.path, { recursive: true });
    await writeFile(join(folder.path, 'model.safetensors'), weights);
    await writeFile(join(folder.path, 'model.json'), JSON.stringify(card));
    const photographs = join(data!, 'images/hymenoptera/val/bees');
    const pictures = await Promise.all((await readdir(photographs)).sort().slice(0, 12).map((name) => readFile(join(photographs, name))));

    await using server = await startTestServer({ models: [{ path: folder.path }] });
    const answers = await Promise.all([pictures.slice(0, 5), pictures.slice(5, 6), pictures.slice(6)].map(async (group) => classifyAnswerSchema.parse(await (await fetch(`${server.url}/v1/classify?top_k=200`, { method: 'POST', body: formOf(...group) })).json())));
    await useLibtorch();
    const model = await ServedModel.open(folder.path, precision);
    // One by one: the sums' order, and so bfloat16's rounding, may differ with a batch's size.
    const tolerance = precision === 'float32' ? 1e-5 : 0.02;
    for (const [i, prediction] of answers.flatMap(({ predictions }) => predictions).entries()) {
      const expected = model.predict([await preprocess(pictures[i]!, 64, card.normalization)]);
      for (const { label, probability } of prediction.classes) expect(Math.abs(probability - expected[card.classes.indexOf(label)]!)).toBeLessThan(tolerance);
    }
    model.dispose();
  });
});
