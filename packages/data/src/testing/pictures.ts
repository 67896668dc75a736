import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';

/** A folder that is gone when the test is over. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'chameleon-data-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A picture whose pixels tell which one it is. */
export function pixels(width: number, height: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * (seed * 2 + 3) + seed * 29) % 256);
}

export const picture = (width = 48, height = 40, seed = 0): Sharp => sharp(pixels(width, height, seed), { raw: { width, height, channels: 3 } });

/** `count` PNG pictures for each class. */
export async function drawClasses(root: string, counts: Record<string, number>): Promise<void> {
  for (const [c, [name, count]] of Object.entries(counts).entries()) {
    await mkdir(join(root, name), { recursive: true });
    for (let i = 0; i < count; i++) await picture(40 + (i % 5), 36, c * 100 + i).png().toFile(join(root, name, `${String(i).padStart(3, '0')}.png`));
  }
}
