import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { calibrationSchema, supportsInt8 } from '@chameleon/core';
import { type Dataset, openDataset } from '@chameleon/data';
import { expect, test } from 'vitest';
import { ServedModel } from '../compute/served-model.js';
import { temporaryFolder, useLibtorch, writeRandomModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { readCalibration } from './calibration-file.js';
import { calibrateModel } from './calibrate-model.js';

await useLibtorch();

/** Twelve drawings in three classes, of which some are for validation. */
async function writeDataset(root: string): Promise<Dataset> {
  for (const [c, label] of ['camouflage', 'normal', 'unclear'].entries()) {
    await mkdir(join(root, label), { recursive: true });
    for (let i = 0; i < 4; i++) await writeFile(join(root, label, `${i}.png`), await drawPicture(10 * c + i, { format: 'png' }));
  }
  return openDataset(root, { validFraction: 0.25 });
}

test.skipIf(!supportsInt8())('a calibrated model answers in bytes almost as in float32, and a calibration of other weights is refused (needs libdnnl-dev and VNNI)', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'model'), card = await writeRandomModel(path, { lively: true }), dataset = await writeDataset(join(folder.path, 'pictures'));
  await expect(ServedModel.open(path, 'int8')).rejects.toThrow('int8 needs a calibration. Make it with `chameleon calibrate');

  const { file, calibration } = await calibrateModel({ model: path, dataset, pictureCount: 6 });
  expect(calibrationSchema.parse(JSON.parse(await readFile(file, 'utf8')))).toEqual(calibration);
  expect(calibration).toMatchObject({ weightsSha256: card.weightsSha256, pictureCount: 6, accuracy: { pictureCount: dataset.valid.length } });

  const wide = await ServedModel.open(path, 'float32'), narrow = await ServedModel.open(path, 'int8');
  const picture = Float32Array.from({ length: 64 * 64 * 3 }, (_, i) => Math.sin(i / 50));
  const [expected, answer] = [wide, narrow].map((served) => served.predict([picture]));
  expected!.forEach((value, i) => expect(Math.abs(value - answer![i]!)).toBeLessThan(0.1));
  expect(narrow.explain(picture, null).heat.values.some((value) => value > 0)).toBe(true);
  for (const served of [wide, narrow]) served.dispose();

  await expect(calibrateModel({ model: path, dataset: { ...dataset, train: [] }, pictureCount: 6 })).rejects.toThrow('no training pictures');
  await expect(calibrateModel({ model: path, dataset: { ...dataset, classes: ['a', 'b'] }, pictureCount: 6 })).rejects.toThrow('tells 3 classes apart');
  await writeFile(file, JSON.stringify({ ...calibration, weightsSha256: '0'.repeat(64) }));
  await expect(readCalibration(path, card)).rejects.toThrow('other weights');
  await writeFile(file, '{');
  await expect(readCalibration(path, card)).rejects.toThrow("can't be understood");
});
