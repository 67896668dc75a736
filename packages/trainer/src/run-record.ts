import { join } from 'node:path';
import { UserError } from '@chameleon/core';
import { PictureReader } from '@chameleon/data';
import sharp from 'sharp';
import { parse } from 'yaml';
import { z } from 'zod';
import type { TrainConfig } from './config.js';
import type { RunEvent } from './events.js';
import { readIfThere } from './files.js';
import { describeChange } from './live/change.js';
import type { EpochRow, Mistake, Prediction, RunRecord, StepRow } from './report/records.js';
import { predictedClass } from './report/run-summary.js';
import { FILES, type RunFacts, readEvents } from './run-directory.js';
import { readConfig } from './train.js';

/** px; as large as the report shows a mistake. */
const THUMBNAIL = 160;
const MISTAKE_COUNT = 12;

const predictionSchema = z.object({ path: z.string(), label: z.number().int(), probabilities: z.array(z.number().nullable().transform((p) => p ?? Number.NaN)) });

/** Everything that a report says of a run, out of its directory. */
export async function readRunRecord(path: string): Promise<RunRecord> {
  const config = await readConfig(path);
  const facts = parse((await readIfThere(join(path, FILES.config)))!.toString()) as RunFacts;
  const events = await readEvents(path);
  const start = find(events, 'start');
  if (!start) throw new UserError(`The run in ${path} has not begun: its ${FILES.events} has no start.`);
  const predictions = await readPredictions(path);
  const finish = events.findLast((event) => event.type === 'finish');
  return {
    runId: path.split('/').filter(Boolean).at(-1)!,
    title: `${config.recipe.name} on ${config.data.split('/').filter(Boolean).at(-1) ?? config.data}`,
    recipe: config.recipe.name,
    architecture: config.architecture,
    classes: start.classes,
    trainCount: start.trainCount,
    validCount: start.validCount,
    config: flatten(config),
    machine: facts.machine,
    versions: { chameleon: facts.version, backend: facts.backend, node: process.versions.node },
    epochs: epochRows(events),
    steps: stepRows(events),
    changes: events.flatMap((event) => (event.type === 'change' ? [{ step: event.step, epoch: event.epoch, text: describeChange(event.change) }] : [])),
    predictions,
    mistakes: await findMistakes(config, predictions),
    skipped: events.flatMap((event) => (event.type === 'skip' ? [{ path: event.path, reason: event.reason }] : [])),
    startedAt: start.time,
    finishedAt: finish?.time ?? '',
    ...endOf(events),
  };
}

/** How a run ended, and of what it failed. Nothing for one that goes on, or that was killed. */
function endOf(events: readonly RunEvent[]): Pick<RunRecord, 'outcome' | 'fault'> {
  const last = events.findLast((event) => event.type !== 'skip' && event.type !== 'command' && event.type !== 'change');
  if (last?.type === 'finish') return { outcome: last.reason };
  return last?.type === 'fault' ? { outcome: 'failed', fault: last.message } : {};
}

const find = <Type extends RunEvent['type']>(events: readonly RunEvent[], type: Type) => events.find((event): event is Extract<RunEvent, { type: Type }> => event.type === type);

export const epochRows = (events: readonly RunEvent[]): EpochRow[] =>
  events.flatMap((event) => {
    if (event.type !== 'epoch') return [];
    const { epoch, trainLoss, trainAccuracy, validLoss, validAccuracy, seconds, learningRates, picturesPerSecond } = event;
    return [{ epoch, trainLoss, trainAccuracy, validLoss, validAccuracy, seconds, learningRates, picturesPerSecond }];
  });

const stepRows = (events: readonly RunEvent[]): StepRow[] => events.flatMap((event) => (event.type === 'step' ? [{ step: event.step, epoch: event.epoch, loss: event.loss }] : []));

/** What the best epoch's model said of each validation picture; empty before the first epoch is done. */
export async function readPredictions(path: string): Promise<Prediction[]> {
  const text = (await readIfThere(join(path, FILES.validation)))?.toString() ?? '';
  return text.split('\n').filter((line) => line !== '').map((line) => predictionSchema.parse(JSON.parse(line)));
}

/**
 * The errors that the model was surest of, with small pictures where the files are still there. A picture that got no
 * answer (a diverged model's probabilities are not numbers) is counted by the report, but was taken for nothing.
 */
async function findMistakes(config: TrainConfig, predictions: readonly Prediction[]): Promise<Mistake[]> {
  const wrong = predictions.flatMap(({ path, label, probabilities }) => {
    const predicted = predictedClass(probabilities);
    return predicted === label || predicted === -1 ? [] : [{ path, label, predicted, probability: probabilities[predicted]! }];
  });
  const surest = wrong.sort((a, b) => b.probability - a.probability).slice(0, MISTAKE_COUNT);
  await using pictures = await PictureReader.open(config.data).catch(() => null);
  return await Promise.all(surest.map(async (mistake) => ({ ...mistake, thumbnail: pictures ? await thumbnail(pictures, mistake.path) : '' })));
}

/** As a `data:` URL; empty where the file has gone, or can no longer be decoded: the report can do without it. */
async function thumbnail(pictures: PictureReader, path: string): Promise<string> {
  try {
    const bytes = await sharp(await pictures.source(path)).autoOrient().resize(THUMBNAIL, THUMBNAIL, { fit: 'cover' }).flatten({ background: '#ffffff' }).jpeg({ quality: 80 }).toBuffer();
    return `data:image/jpeg;base64,${bytes.toString('base64')}`;
  } catch {
    return '';
  }
}

/** Nested settings as `augmentation.flip`, for a table. */
function flatten(value: object, prefix = ''): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, entry]) =>
      typeof entry === 'object' && entry !== null && !Array.isArray(entry) ? Object.entries(flatten(entry as object, `${prefix}${key}.`)) : [[`${prefix}${key}`, entry]],
    ),
  );
}
