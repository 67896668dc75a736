#!/usr/bin/env node
// Pretrains the embedded backbone on Tiny ImageNet at 32 pixels, enlarged to 64: ResNet with 32 channels in its stem, SGD, one cycle.
// All 95,000 pictures are held in memory (292 MB), a worker thread crops and normalises them, this thread computes.
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import * as tf from '@tensorflow/tfjs-core';
import { Sgd, Tape, createClassifier, crossEntropy, evaluateLogits, inference, scheduleFactor, stateDictOf, toHalf, unfreeze, writeSafetensors } from '@chameleon/core';
import { setThreads } from '@chameleon/tfjs-libtorch';
import { readPictures } from './pictures.mjs';

const HELP = `Usage: node tools/backbone/pretrain.mjs ARCHIVE OUT [options]

Pretrains the embedded backbone. ARCHIVE is tiny-imagenet-32.tar.gz
(train/<wnid>/, valid/<wnid>/, 32 x 32 pixels); OUT is the safetensors
file to write, filters in half precision.

  --arch NAME        resnet16w32
  --epochs N         14
  --batch-size N     128
  --image-size N     64
  --learning-rate X  0.2, the top of the one cycle
  --weight-decay X   0.0005
  --seed N           0
  --threads N        2

Example: node tools/backbone/pretrain.mjs tiny-imagenet-32.tar.gz packages/trainer/weights/resnet16w32.safetensors
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arch: { type: 'string', default: 'resnet16w32' },
    epochs: { type: 'string', default: '14' },
    'batch-size': { type: 'string', default: '128' },
    'image-size': { type: 'string', default: '64' },
    'learning-rate': { type: 'string', default: '0.2' },
    'weight-decay': { type: 'string', default: '0.0005' },
    seed: { type: 'string', default: '0' },
    threads: { type: 'string', default: '2' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help || positionals.length !== 2) {
  process.stdout.write(HELP);
  process.exit(values.help ? 0 : 2);
}
const [archive, out] = positionals;
const [epochs, batchSize, imageSize, learningRate, weightDecay, seed] = ['epochs', 'batch-size', 'image-size', 'learning-rate', 'weight-decay', 'seed'].map((name) => Number(values[name]));

await tf.setBackend('libtorch');
setThreads(Number(values.threads));
const { train, valid, classes } = await readPictures(archive);
console.log(`${train.labels.length} pictures to train with, ${valid.labels.length} to judge by, ${classes.length} classes`);

const model = createClassifier({ architecture: values.arch, classCount: classes.length, head: 'linear', seed });
unfreeze(model);
const optimizer = new Sgd({ momentum: 0.9, weightDecay, nesterov: true });
const schedule = { kind: 'one-cycle', warmUp: 0.3 };
const stepsPerEpoch = Math.floor(train.labels.length / batchSize);
const stepCount = epochs * stepsPerEpoch;

/** Batches of a split in order, at most three ahead. */
async function* batches(pictures, request) {
  const worker = new Worker(new URL('./batches.mjs', import.meta.url), { workerData: { pictures, imageSize, batchSize, ...request } });
  try {
    const waiting = [];
    let wake = () => {};
    worker.on('message', (message) => (waiting.push(message), wake()));
    worker.on('error', (error) => (waiting.push({ error }), wake()));
    for (;;) {
      while (waiting.length === 0) await new Promise((resolve) => (wake = resolve));
      const message = waiting.shift();
      if (message.error) throw message.error;
      if (message.done) return;
      worker.postMessage('next');
      yield message;
    }
  } finally {
    await worker.terminate();
  }
}

function trainStep({ pixels, labels, rows, step }) {
  const tape = new Tape();
  const x = tf.tensor(pixels, [rows, imageSize, imageSize, 3]);
  const logits = model.forward(x, { tape, training: true, precision: 'bfloat16' });
  const { gradient, lossSum, correctCount } = crossEntropy(logits, labels, { labelSmoothing: 0.1 });
  x.dispose();
  logits.dispose();
  tape.walk(gradient)?.dispose();
  const rate = learningRate * scheduleFactor(schedule, { step, stepCount, stepsPerEpoch });
  optimizer.step([{ name: 'all', learningRate: rate, parameters: model.parameters() }]);
  for (const parameter of model.parameters()) parameter.clearGradient();
  return { lossSum, correctCount };
}

async function validAccuracy() {
  let correct = 0, count = 0;
  for await (const { pixels, labels, rows } of batches(valid, { epoch: null, seed })) {
    const x = tf.tensor(pixels, [rows, imageSize, imageSize, 3]);
    const logits = model.forward(x, inference('bfloat16'));
    correct += evaluateLogits(logits, labels).correctCount;
    count += rows;
    tf.dispose([x, logits]);
  }
  return correct / count;
}

async function save(accuracy, epoch) {
  const tensors = [...stateDictOf(model)].map(([name, value]) => [name, value.shape.length > 1 ? toHalf(value) : value]);
  const metadata = { architecture: values.arch, classes: classes.join(' '), epochs: `${epoch + 1} of ${epochs}`, seed: String(seed), top1: accuracy.toFixed(4), data: 'Tiny ImageNet at 32 x 32 pixels, enlarged to 64' };
  await writeFile(out, writeSafetensors(tensors, metadata));
  console.log(`wrote ${out}, ${((await readFile(out)).length / 1e6).toFixed(2)} MB`);
}

for (let epoch = 0; epoch < epochs; epoch++) {
  const started = performance.now();
  let loss = 0, hits = 0, seen = 0;
  for await (const batch of batches(train, { epoch, seed })) {
    const { lossSum, correctCount } = trainStep({ ...batch, step: epoch * stepsPerEpoch + batch.step });
    loss += lossSum;
    hits += correctCount;
    seen += batch.rows;
    if (batch.step % 100 === 99) console.log(`epoch ${epoch + 1} step ${batch.step + 1}/${stepsPerEpoch}: loss ${(loss / seen).toFixed(4)}, ${(seen / (performance.now() - started) * 1000).toFixed(0)} pictures/s`);
  }
  const accuracy = await validAccuracy();
  console.log(`epoch ${epoch + 1} of ${epochs}: loss ${(loss / seen).toFixed(4)}, accuracy ${(hits / seen).toFixed(4)}, validation ${accuracy.toFixed(4)}, ${((performance.now() - started) / 1000).toFixed(0)} s`);
  await save(accuracy, epoch);
}
