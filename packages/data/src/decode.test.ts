import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodePicture } from './decode.js';
import { jpeg } from './jpeg.js';
import { PictureError } from './picture-error.js';
import { picture, pixels, temporaryFolder } from './testing/pictures.js';

const grey = (level: number, channels: 3 | 4 = 3, alpha = 1) => sharp({ create: { width: 20, height: 10, channels, background: { r: level, g: level, b: level, alpha } } });

describe('decoding', () => {
  it('gives a PNG’s own pixels', async () => {
    expect(await decodePicture(await picture(48, 40, 3).png().toBuffer())).toEqual({ width: 48, height: 40, data: Buffer.from(pixels(48, 40, 3)) });
  });

  it.each([['jpeg', (s: Sharp) => s.jpeg({ quality: 100 })], ['webp', (s: Sharp) => s.webp({ lossless: true })], ['avif', (s: Sharp) => s.avif({ lossless: true })], ['gif', (s: Sharp) => s.gif()]] as const)('reads %s', async (_, encode) => {
    const { data, width, height } = await decodePicture(await encode(grey(120)).toBuffer());
    expect([width, height, data.length]).toEqual([20, 10, 600]);
    expect(Math.max(...data.map((level) => Math.abs(level - 120)))).toBeLessThanOrEqual(2);
  });

  it('takes the first frame of a moving GIF', async () => {
    const frames = await sharp([await grey(10).png().toBuffer(), await grey(240).png().toBuffer()], { join: { animated: true } }).gif({ delay: [10, 10] }).toBuffer();
    const { data, height } = await decodePicture(frames);
    expect([height, data[0]]).toEqual([10, 10]);
  });

  it('turns a picture as EXIF says', async () => {
    const turned = await picture(30, 20, 1).jpeg({ quality: 100 }).withMetadata({ orientation: 6 }).toBuffer();
    expect(await decodePicture(turned)).toMatchObject({ width: 20, height: 30 });
  });

  it('lays what is transparent on white', async () => {
    const { data } = await decodePicture(await grey(0, 4, 0).png().toBuffer());
    expect([data[0], data.length]).toEqual([255, 600]);
  });

  it('spreads grey, narrows 16 bits and converts CMYK', async () => {
    expect((await decodePicture(await grey(77).toColourspace('b-w').png().toBuffer())).data.subarray(0, 3)).toEqual(Buffer.from([77, 77, 77]));
    expect((await decodePicture(await grey(77).toColourspace('rgb16').png().toBuffer())).data.subarray(0, 3)).toEqual(Buffer.from([77, 77, 77]));
    const cmyk = await decodePicture(await grey(77).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer());
    expect(cmyk.data.length).toBe(600);
    expect(Math.abs(cmyk.data[0]! - 77)).toBeLessThan(20);
  });
});

describe.skipIf(jpeg.decode === null)('libjpeg-turbo (needs its header when set-up runs)', () => {
  const decode = (bytes: Uint8Array, mostPixels = 1e8) => jpeg.decode!(bytes, mostPixels);
  const bySharp = async (bytes: Buffer) => sharp(bytes).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });

  it.each([
    ['halved colours', (s: Sharp) => s.jpeg({ chromaSubsampling: '4:2:0' })],
    ['whole colours', (s: Sharp) => s.jpeg({ chromaSubsampling: '4:4:4' })],
    ['several passes', (s: Sharp) => s.jpeg({ progressive: true })],
    ['an upright EXIF', (s: Sharp) => s.jpeg().withMetadata({ orientation: 1 })],
  ] as const)('gives the pixels that sharp gives, bit for bit, of one with %s', async (_, encode) => {
    const bytes = await encode(picture(131, 77, 5)).toBuffer(), { data, info } = await bySharp(bytes);
    expect(await decode(bytes)).toEqual({ width: info.width, height: info.height, data });
  });

  it('spreads grey', async () => {
    const bytes = await picture(40, 30, 2).greyscale().jpeg().toBuffer(), image = (await decode(bytes))!;
    const { data } = await sharp(bytes).toColourspace('b-w').raw().toBuffer({ resolveWithObject: true });
    expect(image.data).toEqual(Buffer.from([...data].flatMap((level) => [level, level, level])));
  });

  it('leaves to sharp what is turned, in inks, cut short, or larger than allowed', async () => {
    const whole = await picture(200, 160, 7).jpeg().toBuffer(), broken = Buffer.from(whole).fill(0xff, 900, 960);
    const turned = await picture(30, 20, 1).jpeg().withMetadata({ orientation: 6 }).toBuffer(), inks = await picture(30, 20, 1).toColourspace('cmyk').jpeg().toBuffer();
    for (const bytes of [turned, inks, whole.subarray(0, whole.length / 2), broken, Buffer.alloc(0), Buffer.from('no picture')]) expect(await decode(bytes)).toBeNull();
    expect(await decode(whole, 200 * 160 - 1)).toBeNull();
    expect(await decode(whole, 200 * 160)).not.toBeNull();
  });
});

describe('a picture that can’t be used', () => {
  const faultOf = async (source: string | Uint8Array, options = {}) => (await decodePicture(source, options).catch((error: unknown) => error)) as PictureError;

  it('is named with what is wrong', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'notes.jpg');
    await writeFile(path, 'these are notes');
    const error = await faultOf(path, { name: 'train/cat/notes.jpg' });
    expect(error).toBeInstanceOf(PictureError);
    expect(error.message).toBe('train/cat/notes.jpg is not an image we read (found: text).');
  });

  it.each([['empty', new Uint8Array(0), 'empty'], ['SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'unknown-type'], ['rubbish', Uint8Array.from({ length: 50 }, (_, i) => i), 'unknown-type']])('%s is refused by its first bytes', async (_, bytes, fault) => {
    expect((await faultOf(bytes)).fault).toBe(fault);
  });

  it.each([['jpeg', (s: Sharp) => s.jpeg()], ['png', (s: Sharp) => s.png()], ['webp', (s: Sharp) => s.webp()], ['avif', (s: Sharp) => s.avif()], ['gif', (s: Sharp) => s.gif()]] as const)('a truncated %s is damaged', async (_, encode) => {
    const bytes = await encode(picture(200, 160, 7)).toBuffer();
    expect((await faultOf(bytes.subarray(0, Math.floor(bytes.length / 2)))).fault).toBe('damaged');
  });

  it('a bomb of 30,000 x 30,000 pixels is refused before it is decoded', async () => {
    const bomb = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'black' } }).png().toBuffer();
    const large = Buffer.from(bomb);
    large.writeUInt32BE(30_000, 16);
    large.writeUInt32BE(30_000, 20);
    large.writeUInt32BE(crc32(large.subarray(12, 29)), 29);
    expect((await faultOf(large)).fault).toBe('too-large');
  });

  it('a missing file says so', async () => {
    expect(await faultOf('/nowhere/at/all.jpg')).toMatchObject({ fault: 'missing', message: expect.stringContaining('ENOENT') as string });
  });
});

/** PNG's check sum. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
