import { UserError } from '@chameleon/core/errors';

/**
 * Why a picture can't be used. `missing`: no such file, or not readable; `empty`: zero bytes;
 * `unknown-type`: not one of the types we read; `too-large`: over the pixel limit; `damaged`: it can't be decoded whole;
 * `shard`: the shard that holds it is missing, cut short or another than its index says.
 */
export type PictureFault = 'missing' | 'empty' | 'unknown-type' | 'too-large' | 'damaged' | 'shard';

/** A picture that can't be used: `problem` completes the sentence that begins with its name. */
export class PictureError extends UserError {
  override readonly name = 'PictureError';
  readonly fault: PictureFault;
  readonly problem: string;
  constructor(picture: string, fault: PictureFault, problem: string, options: { cause?: unknown; advice?: string } = {}) {
    super([`${picture} ${problem}.`, options.advice].filter(Boolean).join(' '), options.cause === undefined ? {} : { cause: options.cause });
    this.fault = fault;
    this.problem = problem;
  }
}

/** The same error, named after the picture's place in its data set, with what to do about it. */
export function inDataset(error: unknown, path: string): unknown {
  if (!(error instanceof PictureError)) return error;
  return new PictureError(path, error.fault, error.problem, { cause: error, advice: error.fault === 'shard' ? 'Copy that shard anew, or pass --skip-bad-images to go on without the picture.' : 'Remove it, or pass --skip-bad-images to go on without it.' });
}
