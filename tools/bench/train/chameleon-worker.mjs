import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Adam, createClassifier, freeze, unfreeze } from '@chameleon/core';
import { libtorchVersion, memory, resetPeak, setThreads, useDevice } from '@chameleon/tfjs-libtorch';
import { alone } from '@chameleon/trainer';
import { setBackend } from '@tensorflow/tfjs-core';
import { trainStep } from '../../../packages/trainer/dist/training-step.js';
import { median } from '../serve/statistics.mjs';

/**
 * Chameleon's side of `npm run bench`: the trainer's own step. Answers the same calls as torch_worker.py, a line of JSON each.
 */
const megabytes = (field) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;

const PHASES = ['forward', 'backward', 'exchange', 'optimizer'];
let baseline, device, model, batch, groups, settings;
const optimizer = new Adam();

const calls = {
  async build({ arch, kind, precision, batch: rows, size, threads, device: wanted }) {
    device = wanted;
    useDevice(device);
    await setBackend('libtorch');
    setThreads(threads);
    globalThis.gc?.();
    // What importing costs is not the step's: memory counts from here.
    baseline = megabytes('VmRSS');
    if (device === 'cpu') writeFileSync('/proc/self/clear_refs', '5');
    else resetPeak();
    model = createClassifier({ architecture: arch, classCount: 2, head: 'linear', seed: 1 });
    if (kind === 'full') unfreeze(model);
    else freeze(model, { batchNorm: kind });
    groups = [{ name: 'all', learningRate: 1e-4, parameters: model.parameters().filter(({ trainable }) => trainable) }];
    const pixels = new Float32Array(rows * size * size * 3);
    for (let i = 0; i < pixels.length; i++) pixels[i] = 2 * Math.random() - 1;
    const count = (_, i) => i;
    batch = { pixels, labels: Int32Array.from({ length: rows }, (_, i) => i % 2), indices: Int32Array.from({ length: rows }, count), rows, epoch: 0, globalBatch: rows };
    settings = { precision, labelSmoothing: 0, clipNorm: null, accumulate: 1, seed: 1, imageSize: size, syncBatchNorm: false };
    return { version: libtorchVersion(), threads };
  },
  /** Medians over the steps, in ms: of the whole, and of each phase. */
  async train({ steps }) {
    const stepMs = [], phaseMs = Object.fromEntries(PHASES.map((phase) => [phase, []]));
    let loss = NaN;
    for (let step = 0; step < steps; step++) {
      const start = performance.now(), began = [];
      const result = await trainStep(batch, groups, { model, optimizer, exchange: alone, settings, onPhase: (phase) => began.push([phase, performance.now()]) });
      const end = performance.now();
      stepMs.push(end - start);
      began.forEach(([phase, at], i) => phaseMs[phase].push((began[i + 1]?.[1] ?? end) - at));
      loss = result.lossSum / batch.rows;
    }
    return { stepMs: median(stepMs), loss, phasesMs: Object.fromEntries(PHASES.map((phase) => [phase, median(phaseMs[phase])])) };
  },
  memory: () => ({ peakMiB: device === 'cpu' ? megabytes('VmHWM') - baseline : memory().peakBytes / 2 ** 20, processPeakMiB: megabytes('VmHWM') }),
};

const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
tell({ value: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const { name, ...options } = JSON.parse(line);
  try {
    tell({ value: await calls[name](options) });
  } catch (error) {
    tell({ error: error.message });
  }
}
