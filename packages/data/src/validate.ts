import { open } from 'node:fs/promises';
import { type DecodeOptions, decodePicture, readError, readPictureSize, requirePictureType } from './decode.js';
import { HEAD_BYTES, endsWhole, pictureType } from './picture-type.js';

/** As many last bytes as `endsWhole` looks at. */
const TAIL_BYTES = 16;
/** Files up to this size are read whole: sharp takes half the time to read a header that is in memory. */
const SMALL_BYTES = 256 * 1024;

/**
 * Checks a picture, by its file's path or its bytes, without decoding it: its type by its first bytes, its size in pixels by its header, and that
 * it ends as a whole one does. Where the ending is odd, or the type has none (AVIF), the picture is decoded after all.
 *
 * @throws {PictureError} as `decodePicture` does; some damage in the middle of a file is seen by that alone
 */
export async function validatePicture(source: string | Uint8Array, options: DecodeOptions & { name: string }): Promise<void> {
  const { head, tail, fileBytes, whole } = typeof source === 'string' ? await readEnds(source, options.name) : endsOf(source);
  requirePictureType(head, options.name);
  await readPictureSize(whole ?? source, options);
  if (!endsWhole(pictureType(head)!, head, tail, fileBytes)) await decodePicture(whole ?? source, options);
}

interface Ends {
  head: Uint8Array;
  tail: Uint8Array;
  fileBytes: number;
  /** All of a small file. */
  whole: Uint8Array | null;
}

const endsOf = (whole: Uint8Array): Ends => ({ head: whole.subarray(0, HEAD_BYTES), tail: whole.subarray(-TAIL_BYTES), fileBytes: whole.length, whole });

/** The first and the last bytes of a file; of a short one they overlap. */
async function readEnds(path: string, name: string): Promise<Ends> {
  try {
    await using file = await open(path);
    const { size: fileBytes } = await file.stat();
    const read = async (bytes: number, position: number) => {
      const { buffer, bytesRead } = await file.read(new Uint8Array(bytes), 0, bytes, position);
      return buffer.subarray(0, bytesRead);
    };
    if (fileBytes > SMALL_BYTES) return { head: await read(HEAD_BYTES, 0), tail: await read(TAIL_BYTES, fileBytes - TAIL_BYTES), fileBytes, whole: null };
    return endsOf(await read(fileBytes, 0));
  } catch (error) {
    throw readError(error, name);
  }
}
