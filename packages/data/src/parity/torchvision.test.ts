import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomStream } from '@chameleon/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adjustBrightness, adjustContrast, adjustHue, adjustSaturation } from '../color-jitter.js';
import { randomResizedCropBox } from '../crop.js';
import { decodePicture } from '../decode.js';
import { type Box, type RgbImage, resizeBilinear } from '../resize.js';
import { validationPicture } from '../transforms.js';

const PYTHON = '/usr/bin/python3';
const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), '../../../../tools/reference/pictures.py');
const hasTorchvision = spawnSync(PYTHON, ['-c', 'import torchvision'], { stdio: 'ignore' }).status === 0;
const testData = process.env['CHAMELEON_TEST_DATA'];
const missing = !hasTorchvision ? ' (skipped: /usr/bin/python3 has no torchvision)' : testData === undefined ? ' (skipped: CHAMELEON_TEST_DATA names no folder of photographs)' : '';

/** Of 255 levels: crops and resizes repeat PIL's integers; colours repeat its float32, whose roundings may fall one level apart. */
const LEVELS = { crops: 0, validation: 0, colours: 1 };
const SIZE = 96;
const CHANGES = [
  ['adjust_brightness', 0.6], ['adjust_brightness', 1.4], ['adjust_contrast', 0.6], ['adjust_contrast', 1.4],
  ['adjust_saturation', 0.3], ['adjust_saturation', 1.7], ['adjust_hue', -0.2], ['adjust_hue', 0.1],
] as const;
const OURS: Record<(typeof CHANGES)[number][0], (rgb: Uint8Array, factor: number) => void> = {
  adjust_brightness: adjustBrightness, adjust_contrast: adjustContrast, adjust_saturation: adjustSaturation, adjust_hue: adjustHue,
};

interface Answer { crops: string[]; validation: string; changed: string[] }

const largestOf = (a: Uint8Array, b: Uint8Array): number => {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
};

describe.skipIf(missing !== '')(`pictures against torchvision's${missing}`, () => {
  let folder: string, images: RgbImage[], boxes: Box[][], answers: Answer[];
  const largest: [what: string, levels: number, limit: number][] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'chameleon-pictures-'));
    const place = join(testData!, 'images/hymenoptera/val/ants');
    images = await Promise.all((await readdir(place)).sort().slice(0, 12).map((name) => decodePicture(join(place, name))));
    boxes = images.map(({ width, height }, i) => Array.from({ length: 6 }, (_, k) => randomResizedCropBox(width, height, randomStream('crop parity', i, k))));
    const pictures = await Promise.all(images.map(async ({ data, width, height }, i) => {
      const file = join(folder, `given-${i}.rgb`);
      await writeFile(file, data);
      return { file, width, height, boxes: boxes[i] };
    }));
    const input = JSON.stringify({ folder, pictures, size: SIZE, changes: CHANGES });
    answers = JSON.parse(execFileSync(PYTHON, [SCRIPT], { input, encoding: 'utf8' })) as Answer[];
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
    process.stdout.write(`\nagainst torchvision, of 255 levels: ${largest.map(([what, levels, limit]) => `${what} ${levels} (tolerance ${limit})`).join(', ')}\n`);
  });

  it('RandomResizedCrop gives the same pixels for the same boxes', async () => {
    let most = 0;
    for (const [i, image] of images.entries())
      for (const [k, box] of boxes[i]!.entries()) most = Math.max(most, largestOf(resizeBilinear(image, box, { width: SIZE, height: SIZE }).data, await readFile(answers[i]!.crops[k]!)));
    largest.push(['crops', most, LEVELS.crops]);
    expect(most).toBeLessThanOrEqual(LEVELS.crops);
  });

  it('resize and centre crop give the same pixels', async () => {
    let most = 0;
    for (const [i, image] of images.entries()) most = Math.max(most, largestOf(validationPicture(image, SIZE), await readFile(answers[i]!.validation)));
    largest.push(['resize and centre crop', most, LEVELS.validation]);
    expect(most).toBeLessThanOrEqual(LEVELS.validation);
  });

  it.each(CHANGES.map(([name, factor], index) => ({ name, factor, index })))('$name by $factor gives the same colours', async ({ name, factor, index }) => {
    let most = 0;
    for (const answer of answers) {
      const rgb = new Uint8Array(await readFile(answer.validation));
      OURS[name](rgb, factor);
      most = Math.max(most, largestOf(rgb, await readFile(answer.changed[index]!)));
    }
    largest.push([`${name}(${factor})`, most, LEVELS.colours]);
    expect(most).toBeLessThanOrEqual(LEVELS.colours);
  });
});
