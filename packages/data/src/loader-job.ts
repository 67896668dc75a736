import type { Normalization } from './normalize.js';
import type { PictureFault } from './picture-error.js';
import type { PicturePlace } from './pictures.js';
import type { Augmentation } from './transforms.js';

/** What crosses between the loader and its threads. */

/** A decoded picture in memory that threads share: 8-bit RGB, interleaved. */
export interface SharedPicture {
  data: SharedArrayBuffer;
  width: number;
  height: number;
}

export interface JobPicture {
  /** Index into its side of the data set. */
  index: number;
  /** Its path in the data set. */
  path: string;
  /** Where its bytes lie. */
  place: PicturePlace;
  /** The picture, where it was decoded before. */
  decoded: SharedPicture | null;
}

/** A few pictures of one batch, made by one thread. */
export interface Job {
  pictures: JobPicture[];
  /** Float32, NHWC: the batch, which all its jobs write to, and the row of this job's first picture. */
  batch: SharedArrayBuffer;
  firstRow: number;
  /** px */
  imageSize: number;
  /** Of a validation picture before the centre crop, px; null: as `validationPicture` has it. */
  shorterSide: number | null;
  normalization: Normalization;
  /** Null: as in validation. */
  training: { augmentation: Augmentation; seed: number; epoch: number } | null;
  /** Whether what is decoded comes back too. */
  keepDecoded: boolean;
}

/** A picture that can't be decoded; its row is left as it was. */
export interface JobFault {
  index: number;
  fault: PictureFault;
  problem: string;
}

export interface JobResult {
  faults: JobFault[];
  /** What was decoded for this job, by index, where it is to be kept. */
  decoded: [index: number, picture: SharedPicture][];
}

export interface JobRequest {
  id: number;
  job: Job;
}

/** `error`: something other than a bad picture went wrong. */
export type JobReply = { id: number; result: JobResult } | { id: number; error: Error };
