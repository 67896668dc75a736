import type { Normalization, PictureFault } from '@chameleon/data';

export interface DecodeRequest {
  bytes: Uint8Array;
  /** What messages call the picture. */
  name: string;
  /** px, both sides. */
  imageSize: number;
  normalization: Normalization;
  maxPixels: number;
}

/** A picture as the model takes it, and what the sender may want to know of it. */
export interface DecodedPicture {
  /** [size, size, 3] in shared memory, so that it travels to the compute thread without a copy. */
  pixels: Float32Array;
  /** px, of the picture as it is seen (EXIF's orientation applied). */
  width: number;
  height: number;
}

/** A thread says `ready` once, when it can begin. */
export type DecodeReply = { kind: 'ready' } | { kind: 'decoded'; picture: DecodedPicture } | { kind: 'bad'; fault: PictureFault; problem: string } | { kind: 'failed'; message: string };
