import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { type Server, createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { preprocess } from '@chameleon/data';
import type { loadGraphModel } from '@tensorflow/tfjs-converter';
import type * as tfCore from '@tensorflow/tfjs-core';
import { chromium } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { openClassifier } from '../models/model-folder.js';
import { CHROMIUM, CHROMIUM_FLAGS } from '../testing/browser.js';
import { temporaryFolder, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { exportModel } from './export-model.js';
import { probabilitiesOf } from './run-exported.js';

/** Serves the model's folder, TensorFlow.js and an empty page. */
async function serveFiles(folder: string): Promise<{ url: string } & AsyncDisposable> {
  const tfjs = join(createRequire(import.meta.url).resolve('@tensorflow/tfjs/package.json'), '../dist/tf.min.js');
  const server: Server = createServer((request, response) => {
    const path = request.url === '/tf.js' ? tfjs : request.url === '/' ? null : join(folder, request.url!);
    response.setHeader('Content-Type', path === null ? 'text/html' : path.endsWith('.js') ? 'text/javascript' : 'application/octet-stream');
    if (path === null) response.end('<!doctype html><title>model</title><script src="/tf.js"></script>');
    else readFile(path).then((bytes) => response.end(bytes), () => response.writeHead(404).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

describe.skipIf(!existsSync(CHROMIUM))(`a browser (needs ${CHROMIUM})`, () => {
  test('runs the exported graph model by its address alone, with our probabilities and the names of the classes', async () => {
    await using folder = await temporaryFolder();
    const card = await writeRandomModel(join(folder.path, 'model'), { lively: true });
    const pictures = await Promise.all([1, 2, 3].map(async (seed) => {
      const path = join(folder.path, `${seed}.jpg`);
      await writeFile(path, await drawPicture(seed, { width: 120, height: 90 }));
      return path;
    }));
    await exportModel({ from: folder.path, format: 'tfjs', to: join(folder.path, 'web'), pictures, version: '0' });
    const { model } = await openClassifier(folder.path);
    const pixels = await Promise.all(pictures.map((path) => preprocess(path, card.imageSize, card.normalization)));
    const expected = await probabilitiesOf(model, card, pixels);
    model.dispose();

    await using files = await serveFiles(folder.path);
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_FLAGS });
    try {
      const page = await browser.newPage();
      await page.goto(files.url);
      const answer = await page.evaluate(async ({ values, size }) => {
        // The page's own script brings TensorFlow.js.
        const tf = (globalThis as unknown as { tf: Pick<typeof tfCore, 'setBackend' | 'tensor'> & { loadGraphModel: typeof loadGraphModel } }).tf;
        await tf.setBackend('cpu');
        const graph = await tf.loadGraphModel('/web/model.json');
        const output = graph.execute(tf.tensor(values, [values.length / (size * size * 3), size, size, 3]), 'probabilities') as tfCore.Tensor;
        return { probabilities: [...(await output.data())], shape: output.shape, classes: (graph.metadata as { classes: string }).classes };
      }, { values: pixels.flatMap((picture) => [...picture]), size: card.imageSize });
      expect(JSON.parse(answer.classes)).toEqual(card.classes);
      expect(answer.shape).toEqual([3, card.classes.length]);
      answer.probabilities.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-4));
    } finally {
      await browser.close();
    }
  });
});
