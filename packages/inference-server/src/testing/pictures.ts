import { randomStream } from '@chameleon/core';
import sharp from 'sharp';

export type PictureFormat = 'jpeg' | 'png' | 'webp' | 'avif' | 'gif';

/** A picture of coarse coloured noise, different for each seed. */
export async function drawPicture(seed: number, { width = 90, height = 70, format = 'jpeg' as PictureFormat } = {}): Promise<Buffer> {
  const random = randomStream(seed, 'picture');
  const cells = Buffer.from(Uint8Array.from({ length: 8 * 8 * 3 }, () => random.integer(256)));
  return sharp(cells, { raw: { width: 8, height: 8, channels: 3 } }).resize(width, height, { fit: 'fill' }).toFormat(format).toBuffer();
}

/** A PNG of a few bytes that claims to be a white square of `side` pixels. */
export async function pixelBomb(side: number): Promise<Buffer> {
  const small = await sharp({ create: { width: 1, height: 1, channels: 3, background: 'white' } }).png().toBuffer();
  const bomb = Buffer.from(small);
  const header = bomb.indexOf('IHDR');
  bomb.writeUInt32BE(side, header + 4);
  bomb.writeUInt32BE(side, header + 8);
  bomb.writeUInt32BE(crc32(bomb.subarray(header, header + 17)), header + 17);
  return bomb;
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
