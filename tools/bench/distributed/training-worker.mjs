import { Adam, createClassifier, unfreeze } from '@chameleon/core';
import { setThreads } from '@chameleon/tfjs-libtorch';
import { alone, openExchange } from '@chameleon/trainer';
import { setBackend } from '@tensorflow/tfjs-core';
import { layBuckets } from '../../../packages/trainer/dist/exchange/layout.js';
import { trainStep } from '../../../packages/trainer/dist/training-step.js';
import { median } from '../serve/statistics.mjs';
import { serveCalls } from './processes.mjs';

/** One worker: a ResNet that learns in all its layers from random pixels, on one thread. */
await setBackend('libtorch');
setThreads(1);
const IMAGE_SIZE = 224;
let model, optimizer, batch, settings, exchange;

/** The exchange as it is, or with all of it after the way back. */
const kinds = { none: () => alone, early: () => exchange, late: () => ({ ...exchange, gradientReady: () => undefined }) };

const learning = () => model.parameters().filter(({ trainable }) => trainable);

/** One step, and when each of its phases began, its last moment too. */
async function step(used) {
  const began = {};
  await trainStep(batch, [{ learningRate: 1e-4, parameters: learning() }], { model, optimizer, exchange: used, settings, onPhase: (phase) => (began[phase] ??= performance.now()) });
  return { ...began, end: performance.now() };
}

serveCalls({
  build({ rank, precision, pictures, architecture = 'resnet34' }) {
    model = createClassifier({ architecture, classCount: 2, head: 'linear', seed: 1 });
    unfreeze(model);
    optimizer = new Adam();
    const pixels = Float32Array.from({ length: pictures * IMAGE_SIZE * IMAGE_SIZE * 3 }, () => 2 * Math.random() - 1);
    batch = { pixels, labels: Int32Array.from({ length: pictures }, (_, i) => i % 2), indices: Int32Array.from({ length: pictures }, (_, i) => rank * pictures + i), rows: pictures, epoch: 0, globalBatch: 2 * pictures };
    settings = { precision, labelSmoothing: 0, clipNorm: null, accumulate: 1, seed: 1, imageSize: IMAGE_SIZE, syncBatchNorm: false };
  },
  async open({ rank, port, wire, host = '127.0.0.1', address = '127.0.0.1' }) {
    exchange = await openExchange('gloo', { rank, worldSize: 2, meeting: { host, port, prefix: `bench/${wire}` }, address, timeoutMs: 60_000, signal: new AbortController().signal, wire });
  },
  close: () => exchange.close(),
  /**
   * Medians of a step, of what it waits for its gradients' sums, and of the processor's time in that, in ms; and from when to when each step waited,
   * in ms since 1970. Two steps are not counted.
   */
  async train({ steps, exchange: kind }) {
    const used = kinds[kind](), stepMs = [], waitMs = [], waitProcessorMs = [], waits = [];
    const timed = { ...used, sumGradients: async (parameters) => {
      const start = performance.now(), before = process.cpuUsage();
      await used.sumGradients(parameters);
      const { user, system } = process.cpuUsage(before);
      const end = performance.now();
      waitMs.push(end - start);
      waits.push({ from: performance.timeOrigin + start, to: performance.timeOrigin + end });
      waitProcessorMs.push((user + system) / 1000);
    } };
    for (let i = 0; i < steps + 2; i++) {
      const start = performance.now();
      await step(timed);
      stepMs.push(performance.now() - start);
    }
    return { stepMs: median(stepMs.slice(2)), waitMs: median(waitMs.slice(2)), waitProcessorMs: median(waitProcessorMs.slice(2)), waits: waits.slice(2) };
  },
  /** The median of an all-reduce of a few numbers, in ms. */
  async sumFew({ sums }) {
    const times = [];
    for (let i = 0; i < sums; i++) {
      const start = performance.now();
      await exchange.sumNumbers([1, 2, 3, 4]);
      times.push(performance.now() - start);
    }
    return { sumMs: median(times) };
  },
  /** Medians of a step's phases without an exchange, and of when in the way back each bucket of two ranks is full, in ms; two steps are not counted. */
  async profile({ steps }) {
    const buckets = layBuckets(learning(), 2), rows = [];
    for (let i = 0; i < steps + 2; i++) {
      const readyAt = new Map();
      const { forward, backward, exchange: summed, optimizer: applied, end } = await step({ ...alone, gradientReady: (parameter) => readyAt.set(parameter, performance.now()) });
      let full = 0;
      const ready = buckets.map(({ entries }) => (full = Math.max(full, ...entries.map(({ parameter }) => readyAt.get(parameter) - backward))));
      rows.push({ forwardMs: backward - forward, backwardMs: summed - backward, optimizerMs: end - applied, ready });
    }
    const counted = rows.slice(2), middle = (of) => median(counted.map(of));
    return { forwardMs: middle((row) => row.forwardMs), backwardMs: middle((row) => row.backwardMs), optimizerMs: middle((row) => row.optimizerMs), buckets: buckets.map(({ length }, i) => ({ numbers: length, readyMs: middle((row) => row.ready[i]) })) };
  },
});
