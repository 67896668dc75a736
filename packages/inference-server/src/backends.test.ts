import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Classifier, type ModelCard, calibrate, inference, release, supportsInt8 } from '@chameleon/core';
import { preprocess } from '@chameleon/data';
import { logSoftmax, tensor, tidy } from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { indexOfLargest } from './compute/largest.js';
import type { EngineChoice } from './compute/messages.js';
import { compareAnswers } from './exports/parity.js';
import { probabilitiesOf } from './exports/run-exported.js';
import { writeCalibration } from './models/calibration-file.js';
import { openClassifier } from './models/model-folder.js';
import { classifyAnswerSchema, explainAnswerSchema } from './schemas.js';
import { startServer } from './server.js';
import { ENGINE, temporaryFolder, useLibtorch, writeRandomModel, writeRealModel } from './testing/models.js';
import { drawPicture } from './testing/pictures.js';
import { SILENT, formOf, startTestServer } from './testing/server.js';

/** Whatever computes, and in whatever type, a server's answers are evaluation's. */

const WASM: EngineChoice = { module: '@tensorflow/tfjs-backend-wasm', backend: 'wasm' };
const ENGINES: EngineChoice[] = [ENGINE, { module: 'onnxruntime-node', backend: 'onnxruntime', gradients: WASM }, WASM, { module: '@tensorflow/tfjs-backend-cpu', backend: 'cpu' }];
/** Of a probability in float32: sums in another order. */
const TOLERANCE = 1e-4;
/** Each engine in each type that it computes in. */
const COMPUTED = ENGINES.flatMap((engine) => (engine === ENGINE ? (['float32', 'bfloat16', 'int8'] as const) : (['float32'] as const)).map((precision) => ({ engine, precision })));
/** Against evaluation in float32: the largest differences, and the least part of the pictures that get the same class. */
const ALLOWED = {
  float32: { ofLogits: 1e-4, ofProbabilities: 1e-5, sameClass: 1 },
  bfloat16: { ofLogits: 0.1, ofProbabilities: 0.01, sameClass: 0.96 },
  int8: { ofLogits: 1.5, ofProbabilities: 0.08, sameClass: 0.93 },
};
const BATCH = 8;

const data = process.env.CHAMELEON_TEST_DATA;
await useLibtorch();
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
  const rows = await askFor(server.url, card.classes, files);
  return compareAnswers(expected, Float32Array.from(rows.flatMap((row) => [...row])), card.classes.length, TOLERANCE);
}

/** A server's probabilities of each picture, in the order of the classes. */
async function askFor(url: string, classNames: readonly string[], files: readonly Buffer[]): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  for (let start = 0; start < files.length; start += BATCH) {
    const { predictions } = classifyAnswerSchema.parse(await (await fetch(`${url}/v1/classify?top_k=1000`, { method: 'POST', body: formOf(...files.slice(start, start + BATCH)) })).json());
    for (const { classes } of predictions) {
      const byName = new Map(classes.map(({ label, probability }) => [label, probability]));
      rows.push(Float32Array.from(classNames, (name) => byName.get(name)!));
    }
  }
  return rows;
}

/** Evaluation's forward pass of one picture in float32: logits less their log-sum-exp, which is what probabilities keep of them. */
function evaluate(model: Classifier, pixels: Float32Array, size: number): Float32Array {
  const input = tensor(pixels, [1, size, size, 3]), logits = model.forward(input, inference('float32'));
  try {
    return tidy(() => logSoftmax(logits).dataSync()) as Float32Array;
  } finally {
    release(input, logits);
  }
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
});

/** The photographs of a side of the ant and bee set. */
async function photographs(side: 'train' | 'val'): Promise<string[]> {
  const root = join(data!, 'images/hymenoptera', side);
  return (await Promise.all(['ants', 'bees'].map(async (label) => (await readdir(join(root, label))).sort().map((name) => join(root, label, name))))).flat();
}

describe.skipIf(!data)('with real weights and photographs (set CHAMELEON_TEST_DATA to run)', () => {
  let path: string, card: ModelCard, everyFile: Buffer[], evaluated: Float32Array[];
  beforeAll(async () => {
    path = join(folder.path, 'real');
    card = await writeRealModel(path, data!);
    everyFile = await Promise.all((await photographs('val')).map((name) => readFile(name)));
    expect(everyFile).toHaveLength(153);
    await useLibtorch();
    const { model } = await openClassifier(path), { imageSize } = card;
    const pixelsOf = (file: Buffer) => preprocess(file, imageSize, card.normalization);
    evaluated = [];
    for (const file of everyFile) evaluated.push(evaluate(model, await pixelsOf(file), imageSize));
    if (supportsInt8()) {
      const chosen = (await photographs('train')).filter((_, i) => i % 4 === 0), thresholds = await calibrate(model, (async function* () {
        for (const name of chosen) yield tensor(await pixelsOf(await readFile(name)), [1, imageSize, imageSize, 3]);
      })());
      await writeCalibration(path, { formatVersion: 1, weightsSha256: card.weightsSha256, thresholds: { ...thresholds }, pictureCount: chosen.length, accuracy: null });
    }
    model.dispose();
  });

  for (const { engine, precision } of COMPUTED) {
    // The plain JavaScript backend takes a second a picture.
    const some = engine.backend === 'cpu' && process.env.CHAMELEON_TEST_FULL !== '1';
    test.skipIf(precision === 'int8' && !supportsInt8())(`${engine.backend} in ${precision} has evaluation's logits on ${some ? 'four validation photographs' : 'every validation photograph'}, within its tolerance`, { timeout: 300_000 }, async () => {
      const files = some ? everyFile.slice(0, 4) : everyFile;
      await using server = await startTestServer({ models: [{ path }], engine, precision });
      const answers = await askFor(server.url, card.classes, files);
      let ofLogits = 0, ofProbabilities = 0, sameClass = 0;
      for (const [i, answer] of answers.entries()) {
        const expected = evaluated[i]!;
        for (const [c, probability] of answer.entries()) {
          ofLogits = Math.max(ofLogits, Math.abs(Math.log(probability) - expected[c]!));
          ofProbabilities = Math.max(ofProbabilities, Math.abs(probability - Math.exp(expected[c]!)));
        }
        if (indexOfLargest(expected) === indexOfLargest(answer)) sameClass++;
      }
      const allowed = ALLOWED[precision];
      expect(answers).toHaveLength(files.length);
      expect(ofLogits).toBeLessThan(allowed.ofLogits);
      expect(ofProbabilities).toBeLessThan(allowed.ofProbabilities);
      expect(sameClass / files.length).toBeGreaterThanOrEqual(allowed.sameClass);
    });
  }
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
