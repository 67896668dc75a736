import { readFile } from 'node:fs/promises';
import sharp, { type Sharp } from 'sharp';
import { jpeg } from './jpeg.js';
import { PictureError } from './picture-error.js';
import { HEAD_BYTES, type PictureType, describeContent, pictureType } from './picture-type.js';
import type { RgbImage } from './resize.js';

/** 100 million pixels, 300 MB decoded: above any camera's pictures, far below what a bomb asks for. */
export const DEFAULT_MAX_PIXELS = 100_000_000;

export interface DecodeOptions {
  /** Pictures with more pixels are refused before they are decoded. */
  maxPixels?: number;
  /** What messages call the picture; by default its path, or `The picture`. */
  name?: string;
  signal?: AbortSignal | undefined;
}

/**
 * A picture as 8-bit sRGB: JPEG, PNG, WebP, AVIF or the first frame of a GIF. EXIF's orientation is applied; greyscale,
 * CMYK and 16 bits are converted; what is transparent is laid on white. For JPEG the pixels are those of PIL (and so
 * torchvision's): no shrinking while loading, and an RGB picture's colour profile is not applied. libjpeg-turbo decodes a plain one, sharp all others.
 * Decoding runs in libuv's threads.
 *
 * @throws {PictureError} when it is missing, empty, of another type, truncated or otherwise damaged, or too large
 */
export async function decodePicture(source: string | Uint8Array, { maxPixels = DEFAULT_MAX_PIXELS, signal, ...options }: DecodeOptions = {}): Promise<RgbImage> {
  const name = options.name ?? nameOf(source);
  const bytes = typeof source === 'string' ? await readBytes(source, name, signal) : source;
  signal?.throwIfAborted();
  const type = requirePictureType(bytes, name);
  const plain = type === 'JPEG' ? await jpeg.decode?.(bytes, maxPixels) : null;
  if (plain) return plain;
  try {
    const { data, info } = await openWithSharp(bytes, maxPixels).autoOrient().flatten({ background: '#ffffff' }).toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    return { data: info.channels === 3 ? data : spreadGrey(data, info.channels), width: info.width, height: info.height };
  } catch (error) {
    throw decodingError(error, name, maxPixels);
  }
}

/** The size of a picture in pixels, from its header alone, as it is stored (before EXIF's orientation). */
export async function readPictureSize(source: string | Uint8Array, { maxPixels = DEFAULT_MAX_PIXELS, name = nameOf(source) }: DecodeOptions = {}): Promise<{ width: number; height: number }> {
  const { width, height } = await openWithSharp(source, maxPixels)
    .metadata()
    .catch((error: unknown) => {
      throw decodingError(error, name, maxPixels);
    });
  if (width * height > maxPixels) throw tooLarge(name, maxPixels);
  return { width, height };
}

/** @throws {PictureError} unless the bytes begin as a picture does */
export function requirePictureType(head: Uint8Array, name: string): PictureType {
  if (head.length === 0) throw new PictureError(name, 'empty', 'is empty (0 bytes)');
  const type = pictureType(head);
  if (!type) throw new PictureError(name, 'unknown-type', `is not an image we read (found: ${describeContent(head.subarray(0, HEAD_BYTES))})`);
  return type;
}

/** `failOn: 'error'` refuses truncated and broken data, and lets warnings about odd but whole files pass, as PIL does. */
function openWithSharp(input: string | Uint8Array, maxPixels: number): Sharp {
  return sharp(input, { failOn: 'error', limitInputPixels: maxPixels, ignoreIcc: true });
}

/** What messages call a picture that was given no name. */
function nameOf(source: string | Uint8Array): string {
  return typeof source === 'string' ? source : 'The picture';
}

/** The file's bytes; an error says that it can't be read. */
async function readBytes(path: string, name: string, signal?: AbortSignal): Promise<Uint8Array> {
  try {
    return await readFile(path, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw readError(error, name);
  }
}

/** What the system says when a file can't be read. */
export function readError(error: unknown, name: string): PictureError {
  return new PictureError(name, 'missing', `can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`, { cause: error });
}

/** Grey, with or without alpha, as RGB. */
function spreadGrey(data: Uint8Array, channels: number): Uint8Array {
  const rgb = new Uint8Array((data.length / channels) * 3);
  for (let i = 0, o = 0; i < data.length; i += channels, o += 3) rgb.fill(data[i]!, o, o + 3);
  return rgb;
}

function decodingError(error: unknown, name: string, maxPixels: number): PictureError {
  const detail = error instanceof Error ? (error.message.trim().split('\n').at(-1) ?? '') : String(error);
  if (/pixel limit|too large|too many pixels/i.test(detail)) return tooLarge(name, maxPixels, error);
  return new PictureError(name, 'damaged', `is damaged or cut short (${detail})`, { cause: error });
}

function tooLarge(name: string, maxPixels: number, cause?: unknown): PictureError {
  return new PictureError(name, 'too-large', `is over the limit of ${maxPixels.toLocaleString('en')} pixels`, { cause });
}
