import { decodePicture, normalize, validationPicture } from '@chameleon/data/decoding';
import type { DecodeRequest, DecodedPicture } from './messages.js';

/**
 * Validation's preprocessing, step by step `preprocess` of packages/data, which a test holds it to; here the picture's size is
 * kept and the pixels lie in shared memory.
 * @throws {PictureError}
 */
export async function preprocessUpload({ bytes, name, imageSize, normalization, maxPixels }: DecodeRequest): Promise<DecodedPicture> {
  const image = await decodePicture(bytes, { maxPixels, name });
  const pixels = sharedPixels(imageSize * imageSize * 3);
  normalize(validationPicture(image, imageSize), pixels, 0, normalization);
  return { pixels, width: image.width, height: image.height };
}

export const sharedPixels = (count: number): Float32Array => new Float32Array(new SharedArrayBuffer(4 * count));
