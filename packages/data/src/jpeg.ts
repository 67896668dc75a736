import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { RgbImage } from './resize.js';

/** A whole JPEG in grey or colour that lies as it is to be seen; null for every other, also a damaged one, which is sharp's to look at. */
export type JpegDecoder = (bytes: Uint8Array, mostPixels: number) => Promise<RgbImage | null>;

/** `decode` is null where sharp decodes every JPEG: set-up had no compiler or no libjpeg, or, which `problem` then says, the addon doesn't load. */
export const jpeg: { decode: JpegDecoder | null; problem: string | null } = load();

function load(): typeof jpeg {
  const path = fileURLToPath(new URL('../build/jpeg.node', import.meta.url));
  if (!existsSync(path)) return { decode: null, problem: null };
  try {
    return { decode: (createRequire(import.meta.url)(path) as { decodeJpeg: JpegDecoder }).decodeJpeg, problem: null };
  } catch (error) {
    return { decode: null, problem: (error as Error).message };
  }
}
