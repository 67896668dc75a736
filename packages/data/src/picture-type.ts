/** File types by their first bytes: what a file is called says little, and libvips would read more than we want to. */

export type PictureType = 'JPEG' | 'PNG' | 'WebP' | 'AVIF' | 'GIF';

/** As many first bytes as `pictureType` and `describeContent` look at. */
export const HEAD_BYTES = 64;

const EXTENSIONS = /\.(jpe?g|png|webp|avif|gif)$/i;

/** Whether a file's name is that of a picture. */
export function hasPictureName(name: string): boolean {
  return EXTENSIONS.test(name);
}

/** The type of a picture that begins with these bytes, or null. */
export function pictureType(head: Uint8Array): PictureType | null {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, HEAD_BYTES)).toString('latin1');
  if (text.startsWith('\xff\xd8\xff')) return 'JPEG';
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'PNG';
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return 'GIF';
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return 'WebP';
  if (text.slice(4, 8) === 'ftyp' && /avif|avis/.test(text.slice(8))) return 'AVIF';
  return null;
}

const OTHERS: readonly (readonly [RegExp, string])[] = [
  [/^%PDF-/, 'PDF'],
  [/^PK\x03\x04/, 'a zip archive'],
  [/^(II\*\0|MM\0\*)/, 'TIFF'],
  [/^BM/, 'BMP'],
  [/^....ftyp(heic|heix|mif1|msf1)/s, 'HEIC'],
  [/^....ftyp/s, 'video'],
  [/^\s*(<\?xml[^>]*>\s*)?<svg/i, 'SVG'],
  [/^\s*<(!doctype )?html/i, 'HTML'],
  [/^\s*<\?xml/i, 'XML'],
];

/** What the bytes look like to a person: `text`, `HTML`, `unknown data` … */
export function describeContent(head: Uint8Array): string {
  const bytes = head.subarray(0, HEAD_BYTES);
  const text = Buffer.from(bytes).toString('latin1');
  const found = OTHERS.find(([pattern]) => pattern.test(text));
  if (found) return found[1];
  return bytes.every((byte) => byte >= 0x20 || byte === 9 || byte === 10 || byte === 13) ? 'text' : 'unknown data';
}

/** Whether a file of this type ends as a whole one does. False is a suspicion, not a proof: some have bytes after the end. */
export function endsWhole(type: PictureType, head: Uint8Array, tail: Uint8Array, fileBytes: number): boolean {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  switch (type) {
    case 'JPEG':
      return tail.at(-2) === 0xff && tail.at(-1) === 0xd9;
    case 'PNG':
      return Buffer.from(tail).toString('latin1').slice(-8, -4) === 'IEND';
    case 'GIF':
      return tail.at(-1) === 0x3b;
    case 'WebP':
      return head.length >= 12 && view.getUint32(4, true) + 8 <= fileBytes;
    case 'AVIF':
      return false;
    default:
      return type satisfies never;
  }
}
