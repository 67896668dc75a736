import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Calibration, type ModelCard, UserError, calibrationSchema } from '@chameleon/core';
import { findModelFolder } from './model-folder.js';

const NAME = 'int8.json';

/**
 * How a model's values fit into bytes, as `calibrateModel` left it beside the weights.
 * @throws UserError where there is none, or it belongs to other weights
 */
export async function readCalibration(path: string, card: ModelCard): Promise<Calibration> {
  const file = join(await findModelFolder(path), NAME);
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UserError(`${file} is not there: int8 needs a calibration. Make it with \`chameleon calibrate --model ${path}\`.`, { cause: error });
  });
  const calibration = parsed(text, file);
  if (calibration.weightsSha256 !== card.weightsSha256) throw new UserError(`${file} was made for other weights than the model's. Make it anew with \`chameleon calibrate --model ${path}\`.`);
  return calibration;
}

function parsed(text: string, file: string): Calibration {
  try {
    return calibrationSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new UserError(`${file} can't be understood. It was written by another version, or is damaged. Make it anew with \`chameleon calibrate\`.`, { cause: error });
  }
}

/** Written beside its place and renamed, so that a reader finds the old one or the new one. */
export async function writeCalibration(path: string, calibration: Calibration): Promise<string> {
  const file = join(await findModelFolder(path), NAME), beside = `${file}.${process.pid}.part`;
  await writeFile(beside, `${JSON.stringify(calibration, null, 1)}\n`);
  await rename(beside, file);
  return file;
}
