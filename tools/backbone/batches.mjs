// The worker thread of pretrain.mjs: batches of one epoch, or of the whole split in order where epoch is null.
import { parentPort, workerData } from 'node:worker_threads';
import { permutation, randomStream } from '@chameleon/core';
import { DEFAULT_AUGMENTATION, normalize, trainingPicture } from '@chameleon/data';
import { SIDE } from './pictures.mjs';

const { pictures, imageSize, batchSize, epoch, seed } = workerData;
const BYTES = SIDE * SIDE * 3;
/** Small pictures bear less cropping than photographs do. */
const augmentation = epoch === null ? { ...DEFAULT_AUGMENTATION, flip: false } : { ...DEFAULT_AUGMENTATION, scale: [0.3, 1] };

let credit = 3;
let wake = () => {};
parentPort.on('message', () => (credit++, wake()));

function picture(index) {
  const image = { data: pictures.rgb.subarray(index * BYTES, (index + 1) * BYTES), width: SIDE, height: SIDE };
  // Without cropping the whole picture is enlarged, as the judging of these weights always does.
  const bounds = epoch === null ? { ...augmentation, scale: [1, 1], ratio: [1, 1] } : augmentation;
  return trainingPicture(image, imageSize, bounds, randomStream(seed, 'augment', epoch ?? -1, index));
}

const count = pictures.labels.length;
const order = epoch === null ? Int32Array.from({ length: count }, (_, i) => i) : permutation(count, seed, 'order', epoch);
const steps = epoch === null ? Math.ceil(count / batchSize) : Math.floor(count / batchSize);
for (let step = 0; step < steps; step++) {
  while (credit === 0) await new Promise((resolve) => (wake = resolve));
  credit--;
  const rows = order.subarray(step * batchSize, (step + 1) * batchSize);
  const pixels = new Float32Array(rows.length * imageSize * imageSize * 3);
  rows.forEach((index, row) => normalize(picture(index), pixels, row * imageSize * imageSize * 3));
  parentPort.postMessage({ pixels, labels: Int32Array.from(rows, (i) => pictures.labels[i]), rows: rows.length, step }, [pixels.buffer]);
}
parentPort.postMessage({ done: true });
parentPort.close();
