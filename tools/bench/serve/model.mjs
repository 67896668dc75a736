import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CHAMELEON } from './processes.mjs';

const CLASS_COUNT = 1000;

/**
 * ResNet34 with weights from a seed as a model folder, and the same exported to ONNX.
 * @param {Buffer[]} photographs that int8 is calibrated with, where it can be had
 */
export async function writeResNet34(folder, imageSize, photographs = []) {
  await import('@chameleon/tfjs-libtorch');
  const { setBackend, ready, tensor } = await import('@tensorflow/tfjs-core');
  const { calibrate, createClassifier, stateDictOf, supportsInt8, writeSafetensors } = await import('@chameleon/core');
  const { IMAGENET_NORMALIZATION, preprocess } = await import('@chameleon/data');
  if (!(await setBackend('libtorch'))) throw new Error('libtorch is not to be had: run `node tools/setup.mjs`.');
  await ready();
  const model = createClassifier({ architecture: 'resnet34', classCount: CLASS_COUNT, head: 'linear', seed: 1 });
  const weights = writeSafetensors(stateDictOf(model));
  const pictures = supportsInt8() ? await Promise.all(photographs.slice(0, 16).map((photograph) => preprocess(photograph, imageSize, IMAGENET_NORMALIZATION))) : [];
  const thresholds = pictures.length === 0 ? null : await calibrate(model, pictures.map((pixels) => tensor(pixels, [1, imageSize, imageSize, 3])));
  model.dispose();
  const at = join(folder, 'resnet34');
  await mkdir(at, { recursive: true });
  await writeFile(join(at, 'model.safetensors'), weights);
  await writeFile(join(at, 'model.json'), JSON.stringify({
    formatVersion: 1, name: 'resnet34', architecture: 'resnet34', head: 'linear', classes: Array.from({ length: CLASS_COUNT }, (_, i) => `class-${i}`), imageSize, normalization: IMAGENET_NORMALIZATION, precision: 'float32',
    recipe: 'none', validAccuracy: null, runId: 'bench', createdAt: new Date().toISOString(), weightsSha256: createHash('sha256').update(weights).digest('hex'),
  }));
  if (thresholds) await writeFile(join(at, 'int8.json'), JSON.stringify({ formatVersion: 1, weightsSha256: createHash('sha256').update(weights).digest('hex'), thresholds, pictureCount: pictures.length, accuracy: null }));
  return { folder: at, onnx: join(await exportTo('onnx', at, folder), 'model.onnx') };
}

/** Exports a model folder as a person does. @returns the folder of the export */
export async function exportTo(format, modelFolder, into) {
  const to = join(into, format);
  await promisify(execFile)(process.execPath, [CHAMELEON, 'export', modelFolder, '--to', format, '--into', to]);
  return to;
}
