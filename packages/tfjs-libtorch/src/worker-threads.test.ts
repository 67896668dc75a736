import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { addon } from './addon.js';

// A worker thread runs plain JavaScript: it loads what `npm run build` made.
const built = new URL('../dist/index.js', import.meta.url);

/** Trains a tiny linear model by hand for 200 steps, in turn with the other worker as the system will have it. */
const source = `
  const { parentPort, workerData } = require('node:worker_threads');
  (async () => {
    const { memory } = await import(workerData.backend);
    const tf = await import(workerData.core);
    await tf.setBackend('libtorch');
    const x = tf.tensor2d(Float32Array.from({ length: 512 }, (_, i) => Math.sin(i * i)), [64, 8]);
    const target = tf.tidy(() => tf.mul(tf.sum(x, 1, true), workerData.factor));
    let weight = tf.zeros([8, 1]);
    for (let step = 0; step < 200; step++) {
      const next = tf.tidy(() => tf.sub(weight, tf.mul(tf.matMul(x, tf.sub(tf.matMul(x, weight), target), true, false), 0.003)));
      weight.dispose();
      weight = next;
    }
    const values = [...weight.dataSync()];
    tf.dispose([x, target, weight]);
    parentPort.postMessage({ values, tensors: memory().tensors });
  })();
`;

it('lets two worker threads of one process compute at the same time, each with tensors of its own', async () => {
  expect(existsSync(built), 'packages/tfjs-libtorch/dist is built').toBe(true);
  const core = pathToFileURL(createRequire(import.meta.url).resolve('@tensorflow/tfjs-core')).href;
  const workers = [3, -5].map((factor) => new Worker(source, { eval: true, execArgv: [], workerData: { backend: built.href, core, factor } }));
  const answers = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as { values: number[]; tensors: number }));
  await Promise.all(workers.map((worker) => worker.terminate()));
  for (const [i, factor] of [3, -5].entries()) {
    expect(answers[i]!.tensors).toBe(0);
    for (const value of answers[i]!.values) expect(value).toBeCloseTo(factor, 3);
  }
});

it('knows a tensor of another thread from its own', async () => {
  const handles = [1, 2, 3].map((value) => addon().fromData(Float32Array.of(value), [1]));
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.addon).then(({ addon }) => {
      const own = [7, 8, 9].map((value) => addon().fromData(Float32Array.of(value), [1]));
      const answers = workerData.handles.map((handle) => { try { return addon().read(handle)[0]; } catch (error) { return error.message; } });
      parentPort.postMessage({ own: own.map((handle) => addon().read(handle)[0]), answers });
    });
  `;
  const worker = new Worker(code, { eval: true, execArgv: [], workerData: { addon: new URL('../dist/addon.js', import.meta.url).href, handles } });
  const [{ own, answers }] = (await once(worker, 'message')) as [{ own: number[]; answers: string[] }];
  await worker.terminate();
  expect(own).toEqual([7, 8, 9]);
  for (const answer of answers) expect(answer).toContain('in another thread than its own');
  for (const handle of handles) addon().release(handle);
});
