import { type Calibration, type Classifier, type FoldedClassifier, UserError, calibrate, foldClassifier, release, supportsInt8 } from '@chameleon/core';
import { type Batch, type Dataset, type Picture, PictureLoader } from '@chameleon/data';
import { type Tensor, tensor } from '@tensorflow/tfjs-core';
import { indexOfLargest } from '../compute/largest.js';
import { writeCalibration } from './calibration-file.js';
import { openClassifier } from './model-folder.js';

export interface CalibrateOptions {
  /** A run, or a model folder; the calibration is written into it. */
  model: string;
  /** Its training pictures are looked at, its validation pictures judged. */
  dataset: Dataset;
  /** Training pictures at most. */
  pictureCount: number;
  signal?: AbortSignal;
}

const BATCH = 8;

/**
 * Finds how a model's values fit into bytes, measures what that costs on the validation pictures, and writes both beside its weights.
 * On the backend in use. @throws UserError where int8 can't be had, or there are no training pictures
 */
export async function calibrateModel({ model: path, dataset, pictureCount, signal }: CalibrateOptions): Promise<{ file: string; calibration: Calibration }> {
  if (!supportsInt8()) throw new UserError('int8 is not to be had here: it needs the backend libtorch with oneDNN 2, and a processor with VNNI. Serve with --dtype bfloat16 or float32.');
  if (dataset.train.length === 0) throw new UserError('There are no training pictures to calibrate with. Pass --data with the folder that the model was trained on.');
  const { model, card } = await openClassifier(path);
  try {
    if (dataset.classes.length !== card.classes.length) throw new UserError(`The model tells ${card.classes.length} classes apart, ${dataset.root} has ${dataset.classes.length}. Pass --data with the folder that the model was trained on.`);
    const chosen = spread(dataset.train, pictureCount), size = card.imageSize;
    const thresholds = await withPictures(dataset, chosen, card, (batches) => calibrate(model, tensorsOf(batches, size)), signal);
    const accuracy = dataset.valid.length === 0 ? null : await withPictures(dataset, dataset.valid, card, (batches) => compare(model, thresholds, batches, size), signal);
    const calibration: Calibration = { formatVersion: 1, weightsSha256: card.weightsSha256, thresholds: { ...thresholds }, pictureCount: chosen.length, accuracy };
    return { file: await writeCalibration(path, calibration), calibration };
  } finally {
    model.dispose();
  }
}

/** At most so many, evenly over all of them: neighbours are of one class. */
const spread = (pictures: readonly Picture[], most: number): Picture[] => (pictures.length <= most ? [...pictures] : Array.from({ length: most }, (_, i) => pictures[Math.floor((i * pictures.length) / most)]!));

/** Pictures as validation prepares them. */
async function withPictures<Result>(dataset: Dataset, pictures: readonly Picture[], { imageSize, normalization }: { imageSize: number; normalization: { mean: [number, number, number]; std: [number, number, number] } }, work: (batches: AsyncIterable<Batch>) => Promise<Result>, signal?: AbortSignal): Promise<Result> {
  await using loader = new PictureLoader({ ...dataset, train: [], valid: [...pictures] }, { imageSize, normalization });
  return await work(loader.valid({ batchSize: BATCH, signal }));
}

async function* tensorsOf(batches: AsyncIterable<Batch>, size: number): AsyncGenerator<Tensor> {
  for await (const { pixels, rows } of batches) yield tensor(pixels, [rows, size, size, 3]);
}

async function compare(model: Classifier, thresholds: Calibration['thresholds'], batches: AsyncIterable<Batch>, size: number): Promise<NonNullable<Calibration['accuracy']>> {
  const wide = foldClassifier(model, 'float32'), narrow = foldClassifier(model, 'int8', thresholds);
  let pictureCount = 0, wideRight = 0, narrowRight = 0, same = 0;
  try {
    for await (const { pixels, rows, labels } of batches) {
      const pictures = tensor(pixels, [rows, size, size, 3]);
      const [ofWide, ofNarrow] = [bestOf(wide, pictures), bestOf(narrow, pictures)];
      pictures.dispose();
      for (let row = 0; row < rows; row++) {
        pictureCount++;
        if (ofWide[row] === labels[row]) wideRight++;
        if (ofNarrow[row] === labels[row]) narrowRight++;
        if (ofWide[row] === ofNarrow[row]) same++;
      }
    }
  } finally {
    for (const folded of [wide, narrow]) folded.dispose();
  }
  return { pictureCount, float32: wideRight / pictureCount, int8: narrowRight / pictureCount, agreement: same / pictureCount };
}

/** The class of the largest logit, for each picture. */
function bestOf(folded: FoldedClassifier, pictures: Tensor): number[] {
  const logits = folded.forward(pictures), values = logits.dataSync() as Float32Array, [rows, classes] = logits.shape as [number, number];
  release(logits);
  return Array.from({ length: rows }, (_, row) => indexOfLargest(values.subarray(row * classes, (row + 1) * classes)));
}
