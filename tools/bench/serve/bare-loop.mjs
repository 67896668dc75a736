import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { foldClassifier, readSafetensors, createClassifier, loadStateDict } from '@chameleon/core';
import { preprocess } from '@chameleon/data';
import { bindThreads, setThreads } from '@chameleon/tfjs-libtorch';
import { availableParallelism } from 'node:os';
import { ready, setBackend, tensor } from '@tensorflow/tfjs-core';

/** Decoding and the model, batch after batch, without a server: `node bare-loop.mjs MODEL_FOLDER PRECISION SECONDS` */

const [folder, precision, seconds] = process.argv.slice(2);
const BATCH = 16;
await setBackend('libtorch');
await ready();
setThreads(availableParallelism());
bindThreads();
const card = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8'));
const model = createClassifier({ architecture: card.architecture, classCount: card.classes.length, head: card.head, seed: 0, bodyIsLoaded: true });
loadStateDict(model, readSafetensors(await readFile(join(folder, 'model.safetensors'))).tensors, { scope: 'all' });
const thresholds = precision === 'int8' ? JSON.parse(await readFile(join(folder, 'int8.json'), 'utf8')).thresholds : null;
const folded = foldClassifier(model, precision, thresholds);
const photographs = join(process.env.CHAMELEON_TEST_DATA, 'images/hymenoptera/val/bees');
const files = await Promise.all((await readdir(photographs)).sort().map((name) => readFile(join(photographs, name))));

async function batchFrom(start) {
  const pixels = new Float32Array(BATCH * card.imageSize ** 2 * 3);
  const pictures = await Promise.all(Array.from({ length: BATCH }, (_, i) => preprocess(files[(start + i) % files.length], card.imageSize, card.normalization)));
  pictures.forEach((picture, i) => pixels.set(picture, i * picture.length));
  return pixels;
}

function compute(pixels) {
  const input = tensor(pixels, [BATCH, card.imageSize, card.imageSize, 3]), logits = folded.forward(input);
  logits.dataSync();
  input.dispose();
  logits.dispose();
}

compute(await batchFrom(0));
const startMs = performance.now();
let done = 0;
while (performance.now() - startMs < 1000 * seconds) {
  compute(await batchFrom(done));
  done += BATCH;
}
console.log(JSON.stringify({ perSecond: (1000 * done) / (performance.now() - startMs) }));
