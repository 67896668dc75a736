import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { preprocess } from '@chameleon/data';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EngineChoice } from './compute/messages.js';
import { compareAnswers } from './exports/parity.js';
import { probabilitiesOf } from './exports/run-exported.js';
import { openClassifier } from './models/model-folder.js';
import { classifyAnswerSchema, explainAnswerSchema } from './schemas.js';
import { startServer } from './server.js';
import { ENGINE, temporaryFolder, useLibtorch, writeRandomModel, writeRealModel } from './testing/models.js';
import { drawPicture } from './testing/pictures.js';
import { SILENT, formOf, startTestServer } from './testing/server.js';

/** Whatever computes, a server's answers are evaluation's. */

const WASM: EngineChoice = { module: '@tensorflow/tfjs-backend-wasm', backend: 'wasm' };
const ENGINES: EngineChoice[] = [ENGINE, { module: 'onnxruntime-node', backend: 'onnxruntime', gradients: WASM }, WASM, { module: '@tensorflow/tfjs-backend-cpu', backend: 'cpu' }];
/** Of a probability in float32: sums in another order. */
const TOLERANCE = 1e-4;
const BATCH = 8;

const data = process.env.CHAMELEON_TEST_DATA;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** What a server with this engine answers of files, and what evaluation says: probabilities of all classes, in the card's order. */
async function compare(engine: EngineChoice, path: string, files: readonly Buffer[]) {
  await useLibtorch();
  const { model, card } = await openClassifier(path);
  const expected = await probabilitiesOf(model, card, await Promise.all(files.map((file) => preprocess(file, card.imageSize, card.normalization))));
  model.dispose();
  await using server = await startTestServer({ models: [{ path }], engine, precision: 'float32' });
  const rows: number[] = [];
  for (let start = 0; start < files.length; start += BATCH) {
    const { predictions } = classifyAnswerSchema.parse(await (await fetch(`${server.url}/v1/classify?top_k=1000`, { method: 'POST', body: formOf(...files.slice(start, start + BATCH)) })).json());
    for (const { classes } of predictions) rows.push(...card.classes.map((name) => classes.find(({ label }) => label === name)!.probability));
  }
  return compareAnswers(expected, Float32Array.from(rows), card.classes.length, TOLERANCE);
}

describe.each(ENGINES)('computed by $backend', (engine) => {
  test.each(['linear', 'deep'] as const)('answers with a %s head equal evaluation\'s', async (head) => {
    const path = join(folder.path, `${engine.backend}-${head}`);
    await writeRandomModel(path, { head, lively: true });
    const parity = await compare(engine, path, await Promise.all([1, 2, 3, 4, 5].map((seed) => drawPicture(seed))));
    expect(parity).toMatchObject({ pictures: 5, top1Agreement: 1, equal: true });
  });

  test('it is named among the models and in the metrics, and explains as libtorch does', async () => {
    const path = join(folder.path, `${engine.backend}-explained`);
    await writeRandomModel(path, { lively: true });
    const heats = await Promise.all([engine, ENGINE].map(async (one) => {
      await using server = await startTestServer({ models: [{ path }], engine: one, precision: 'float32' });
      const { models } = (await (await fetch(`${server.url}/v1/models`)).json()) as { models: { versions: { backend: string; precision: string }[] }[] };
      expect(models[0]!.versions[0]).toMatchObject({ backend: one.backend, precision: 'float32' });
      expect(await (await fetch(`${server.url}/metrics`)).text()).toMatch(new RegExp(`chameleon_model_info\\{[^}]*backend="${one.backend}",dtype="float32"\\} 1`));
      const answer = explainAnswerSchema.parse(await (await fetch(`${server.url}/v1/explain`, { method: 'POST', body: formOf(await drawPicture(7)) })).json());
      return answer.predictions[0]!.heatmap;
    }));
    expect(heats[0]!.label).toBe(heats[1]!.label);
    const [theirs, libtorchs] = await Promise.all(heats.map(({ png_base64: png }) => sharp(Buffer.from(png, 'base64')).raw().toBuffer()));
    expect(theirs!.length).toBe(libtorchs!.length);
    expect(Math.max(...theirs!.map((value, i) => Math.abs(value - libtorchs![i]!)))).toBeLessThanOrEqual(2);
    expect(heats[0]!.region).toEqual(heats[1]!.region);
  });

  // The plain JavaScript backend takes a second a picture.
  test.skipIf(!data)('says of every validation photograph what evaluation says (set CHAMELEON_TEST_DATA to run)', { timeout: 300_000 }, async () => {
    const path = join(folder.path, `${engine.backend}-real`);
    await writeRealModel(path, data!);
    const photographs = join(data!, 'images/hymenoptera/val');
    const names = (await Promise.all(['ants', 'bees'].map(async (label) => (await readdir(join(photographs, label))).sort().map((name) => join(photographs, label, name))))).flat();
    const chosen = engine.backend === 'cpu' && process.env.CHAMELEON_TEST_FULL !== '1' ? names.slice(0, 4) : names;
    const parity = await compare(engine, path, await Promise.all(chosen.map((name) => readFile(name))));
    expect(parity).toMatchObject({ pictures: chosen.length, top1Agreement: 1, equal: true });
  });
});

test('a bundle whose weights are damaged is not taken by ONNX Runtime', async () => {
  const path = join(folder.path, 'damaged');
  await writeRandomModel(path);
  const weights = await readFile(join(path, 'model.safetensors'));
  weights[weights.length - 1]! ^= 1;
  await writeFile(join(path, 'model.safetensors'), weights);
  const server = await startServer({ models: [{ path }], engine: ENGINES[1]!, port: 0, threads: 1, decodeThreads: 1, logger: SILENT });
  await expect(server.ready).rejects.toThrow('digest differs');
  await server.stop();
});
