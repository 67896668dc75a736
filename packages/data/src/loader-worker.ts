/** The loader's thread: decodes, augments and normalises pictures, away from the thread that computes. */
import { parentPort } from 'node:worker_threads';
import { randomStream } from '@chameleon/core/random';
import { decodePicture } from './decode.js';
import type { Job, JobPicture, JobReply, JobRequest, JobResult, SharedPicture } from './loader-job.js';
import { normalize } from './normalize.js';
import { PictureError } from './picture-error.js';
import { sourceAt } from './pictures.js';
import type { RgbImage } from './resize.js';
import { ShardReader } from './shards/shard-reader.js';
import { trainingPicture, validationPicture } from './transforms.js';

/** The shards that this thread reads from. */
const shards = new ShardReader();

async function runJob(job: Job): Promise<JobResult> {
  const result: JobResult = { faults: [], decoded: [] };
  await Promise.all(job.pictures.map((picture, i) => makeRow(job, picture, job.firstRow + i, result)));
  return result;
}

/** Writes one picture's row of the batch. */
async function makeRow(job: Job, { index, path, place, decoded }: JobPicture, row: number, { faults, decoded: kept }: JobResult): Promise<void> {
  try {
    const image = decoded ? { ...decoded, data: new Uint8Array(decoded.data) } : await decodePicture(await sourceAt(place, path, shards));
    const rgb = transform(image, job, index);
    normalize(rgb, new Float32Array(job.batch), row * rgb.length, job.normalization);
    if (!decoded && job.keepDecoded) kept.push([index, share(image)]);
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    faults.push({ index, fault: error.fault, problem: error.problem });
  }
}

function transform(image: RgbImage, { imageSize, shorterSide, training }: Job, index: number): Uint8Array {
  if (!training) return validationPicture(image, imageSize, shorterSide ?? undefined);
  const { augmentation, seed, epoch } = training;
  return trainingPicture(image, imageSize, augmentation, randomStream(seed, 'augment', epoch, index));
}

/** A copy that other threads see without copying. */
function share({ data, width, height }: RgbImage): SharedPicture {
  const shared = new SharedArrayBuffer(data.length);
  new Uint8Array(shared).set(data);
  return { data: shared, width, height };
}

const port = parentPort!;
/** Jobs under way. */
const running = new Set<Promise<void>>();
port.on('message', (request: JobRequest | null) => {
  if (!request) {
    port.close();
    return void Promise.all(running).then(() => shards[Symbol.asyncDispose]());
  }
  const { id, job } = request;
  const reply = (message: JobReply) => port.postMessage(message);
  const done = runJob(job).then(
    (result) => reply({ id, result }),
    (error: unknown) => reply({ id, error: error instanceof Error ? error : new Error(String(error)) }),
  ).finally(() => running.delete(done));
  running.add(done);
});
