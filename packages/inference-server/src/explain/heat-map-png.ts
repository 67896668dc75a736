import sharp from 'sharp';
import type { HeatMap } from '../compute/messages.js';

/** A PNG of `size` x `size` px to lay over a picture: from transparent over red to yellow, cubic between the positions. */
export async function heatMapPng({ values, height, width }: HeatMap, size: number): Promise<Buffer> {
  const grey = Buffer.from(values.map((value) => Math.round(255 * value)));
  const smooth = await sharp(grey, { raw: { width, height, channels: 1 } }).resize(size, size, { fit: 'fill', kernel: 'cubic' }).toColourspace('b-w').raw().toBuffer();
  const rgba = Buffer.alloc(size * size * 4);
  smooth.forEach((heat, i) => {
    const at = 4 * i;
    rgba[at] = 255;
    rgba[at + 1] = Math.max(0, 2 * (heat - 128));
    rgba[at + 2] = 0;
    rgba[at + 3] = Math.round(0.75 * heat);
  });
  return sharp(rgba, { raw: { width: size, height: size, channels: 4 } }).png().toBuffer();
}
