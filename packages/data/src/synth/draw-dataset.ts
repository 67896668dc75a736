import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '@chameleon/core';
import sharp from 'sharp';
import { mapBounded } from '../bounded.js';
import { DEFAULT_PICTURE_SIZE, drawPicture } from './draw-picture.js';
import { CLASSES } from './outfit.js';

export interface DrawOptions {
  /** Of both classes together. */
  count?: number;
  /** px: width and height. */
  size?: number;
  /** The same seed draws the same pictures. */
  seed?: number;
  signal?: AbortSignal | undefined;
  onProgress?: (done: number, total: number) => void;
}

const JPEG_QUALITY = 88;
/** JPEG encoding runs in other threads while the next picture is drawn. */
const CONCURRENCY = 4;

/**
 * Draws the demo data set, `out/<class>/0000.jpg` and on: every picture is a draw of its own, so the first fifth of a
 * class is a fair sample. Works beside `out` and renames at the end.
 *
 * @throws {UserError} when `out` holds something already
 */
export async function drawDataset(out: string, { count = 1200, size = DEFAULT_PICTURE_SIZE, seed = 0, signal, onProgress }: DrawOptions = {}): Promise<{ classes: string[]; counts: Record<string, number> }> {
  if ((await readdir(out).catch(() => [])).length > 0) throw new UserError(`${out} is not empty. Choose another folder, or remove it.`);
  if (count < 2) throw new UserError(`A data set of ${count} pictures has no picture of each class. Draw at least 2.`, { exitCode: 2 });
  const partial = `${out}.partial`;
  await rm(partial, { recursive: true, force: true });
  const pictures = Array.from({ length: count }, (_, index) => ({ index, className: CLASSES[index % CLASSES.length]! }));
  try {
    for (const name of CLASSES) await mkdir(join(partial, name), { recursive: true });
    let done = 0;
    await mapBounded(pictures, CONCURRENCY, async ({ index, className }) => {
      const { data, width, height } = drawPicture({ seed, index, className }, size);
      const name = `${String(Math.floor(index / CLASSES.length)).padStart(4, '0')}.jpg`;
      await sharp(data, { raw: { width, height, channels: 3 } }).jpeg({ quality: JPEG_QUALITY }).toFile(join(partial, className, name));
      onProgress?.(++done, count);
    }, signal);
    await rm(out, { recursive: true, force: true });
    await rename(partial, out);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  const counts = Object.fromEntries(CLASSES.map((name) => [name, pictures.filter((picture) => picture.className === name).length]));
  return { classes: [...CLASSES], counts };
}
