import { Adam, createClassifier, unfreeze } from '@chameleon/core';
import { setThreads } from '@chameleon/tfjs-libtorch';
import { alone, openExchange } from '@chameleon/trainer';
import { setBackend } from '@tensorflow/tfjs-core';
import { trainStep } from '../../../packages/trainer/dist/training-step.js';
import { median } from '../serve/statistics.mjs';
import { serveCalls } from './processes.mjs';

/** One worker: a ResNet34 that learns in all its layers from random pixels, on one thread. */
await setBackend('libtorch');
setThreads(1);
const IMAGE_SIZE = 224;
let model, optimizer, batch, settings, exchange;

/** The exchange as it is, or with all of it after the way back. */
const kinds = { none: () => alone, early: () => exchange, late: () => ({ ...exchange, gradientReady: () => undefined }) };

serveCalls({
  build({ rank, precision, pictures }) {
    model = createClassifier({ architecture: 'resnet34', classCount: 2, head: 'linear', seed: 1 });
    unfreeze(model);
    optimizer = new Adam();
    const pixels = Float32Array.from({ length: pictures * IMAGE_SIZE * IMAGE_SIZE * 3 }, () => 2 * Math.random() - 1);
    batch = { pixels, labels: Int32Array.from({ length: pictures }, (_, i) => i % 2), indices: Int32Array.from({ length: pictures }, (_, i) => rank * pictures + i), rows: pictures, epoch: 0, globalBatch: 2 * pictures };
    settings = { precision, labelSmoothing: 0, clipNorm: null, accumulate: 1, seed: 1, imageSize: IMAGE_SIZE, syncBatchNorm: false };
  },
  async open({ rank, port, wire }) {
    exchange = await openExchange('gloo', { rank, worldSize: 2, meeting: { host: '127.0.0.1', port, prefix: `bench/${wire}` }, address: '127.0.0.1', timeoutMs: 60_000, signal: new AbortController().signal, wire });
  },
  close: () => exchange.close(),
  /** Medians of a step, and of what it waits for its gradients' sums, in ms; two steps are not counted. */
  async train({ steps, exchange: kind }) {
    const used = kinds[kind](), stepMs = [], waitMs = [];
    const timed = { ...used, sumGradients: async (parameters) => {
      const start = performance.now();
      await used.sumGradients(parameters);
      waitMs.push(performance.now() - start);
    } };
    const groups = [{ learningRate: 1e-4, parameters: model.parameters().filter(({ trainable }) => trainable) }];
    for (let step = 0; step < steps + 2; step++) {
      const start = performance.now();
      await trainStep(batch, groups, { model, optimizer, exchange: timed, settings });
      stepMs.push(performance.now() - start);
    }
    return { stepMs: median(stepMs.slice(2)), waitMs: median(waitMs.slice(2)) };
  },
});
