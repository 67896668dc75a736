import sharp from 'sharp';
import { list } from 'tar';

/** Side of the archive's pictures in pixels. */
export const SIDE = 32;
const BYTES = SIDE * SIDE * 3;

/**
 * Reads the whole archive, train/<class>/ and valid/<class>/ at any depth, into shared memory.
 * @param {string} archive path of a tar.gz
 */
export async function readPictures(archive) {
  const files = { train: [], valid: [] };
  const names = new Set();
  await list({
    file: archive,
    onReadEntry: (entry) => {
      const [, side, name] = /(train|valid)\/([^/]+)\/[^/]+\.(?:jpe?g|png)$/i.exec(entry.path) ?? [];
      if (!side) return entry.resume();
      names.add(name);
      const chunks = [];
      entry.on('data', (chunk) => chunks.push(chunk));
      entry.on('end', () => files[side].push({ name, bytes: Buffer.concat(chunks) }));
    },
  });
  const classes = [...names].sort();
  return { train: await decodeAll(files.train, classes), valid: await decodeAll(files.valid, classes), classes };
}

async function decodeAll(files, classes) {
  const rgb = new Uint8Array(new SharedArrayBuffer(files.length * BYTES));
  const labels = new Int32Array(new SharedArrayBuffer(files.length * 4));
  const index = new Map(classes.map((name, i) => [name, i]));
  for (let start = 0; start < files.length; start += 64) {
    await Promise.all(
      files.slice(start, start + 64).map(async ({ name, bytes }, offset) => {
        rgb.set(await sharp(bytes).toColourspace('srgb').removeAlpha().raw().toBuffer(), (start + offset) * BYTES);
        labels[start + offset] = index.get(name);
      }),
    );
  }
  return { rgb, labels };
}
