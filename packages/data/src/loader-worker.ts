/** The loader's thread: decodes, augments and normalises pictures, away from the thread that computes. */
import { parentPort } from 'node:worker_threads';
import { randomStream } from '@chameleon/core';
import { decodePicture } from './decode.js';
import type { Job, JobFault, JobPicture, JobReply, JobRequest, JobResult, SharedPicture } from './loader-job.js';
import { normalize } from './normalize.js';
import { PictureError } from './picture-error.js';
import type { RgbImage } from './resize.js';
import { trainingPicture, validationPicture } from './transforms.js';

/** One picture of a job: 8-bit RGB of the job's size, and what was decoded for it. */
interface Made {
  rgb: Uint8Array;
  decoded: RgbImage | null;
}

async function runJob(job: Job): Promise<JobResult> {
  const made = await Promise.all(job.pictures.map((picture) => makeOrFault(job, picture)));
  const good = made.filter((outcome): outcome is Made => 'rgb' in outcome);
  const pixels = new Float32Array(good.length * job.imageSize ** 2 * 3);
  good.forEach(({ rgb }, row) => normalize(rgb, pixels, row * rgb.length, job.normalization));
  const decoded = made.flatMap((outcome, i): JobResult['decoded'] => ('rgb' in outcome && outcome.decoded ? [[job.pictures[i]!.index, share(outcome.decoded)]] : []));
  return { pixels, faults: made.filter((outcome): outcome is JobFault => 'fault' in outcome), decoded };
}

async function makeOrFault(job: Job, { index, path, decoded }: JobPicture): Promise<Made | JobFault> {
  try {
    const image = decoded ? { ...decoded, data: new Uint8Array(decoded.data) } : await decodePicture(path);
    return { rgb: transform(image, job, index), decoded: decoded || !job.keepDecoded ? null : image };
  } catch (error) {
    if (error instanceof PictureError) return { index, fault: error.fault, problem: error.problem };
    throw error;
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
port.on('message', (request: JobRequest | null) => {
  if (!request) return port.close();
  const { id, job } = request;
  const reply = (message: JobReply, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
  runJob(job).then(
    (result) => reply({ id, result }, [result.pixels.buffer as ArrayBuffer]),
    (error: unknown) => reply({ id, error: error instanceof Error ? error : new Error(String(error)) }),
  );
});
