import { join } from 'node:path';
import { type Classifier, type HostTensor, UserError, createClassifier, loadStateDict, messageOf } from '@chameleon/core';
import { type Dataset, PictureLoader, makeManifest, openDataset, stepCount, verifyManifest } from '@chameleon/data';
import { parse } from 'yaml';
import { START, captureState, newestCheckpoint, restoreState } from './checkpoint.js';
import { type TrainConfig, parseConfig } from './config.js';
import { type NewEvent, type RunEvent, parseEvents } from './events.js';
import { alone } from './exchange/exchange.js';
import { readIfThere } from './files.js';
import { type FitParts, type FitResult, createOptimizer, fit } from './fit.js';
import { VERSION, describeMachine } from './machine.js';
import { askedAgain } from './live/change.js';
import { FILES, RunDirectory, runId } from './run-directory.js';
import { leaveMilestone, writeBestModel } from './run-files.js';

/** Weights in memory: a state dictionary of torchvision's, or null for a start from random numbers. */
export interface StartWeights {
  name: string;
  tensors: Map<string, HostTensor> | null;
}

export interface TrainSurroundings {
  /** The backend that computes, for the record. */
  backend: string;
  /** Opens what `config.weights` names; not called where a checkpoint has all. */
  openWeights: (name: string) => Promise<StartWeights>;
  observe?: (event: RunEvent) => void;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
  /** Called as a step enters a phase. */
  onPhase?: FitParts['onPhase'];
  /** Threads that decode. */
  workers?: number;
}

export interface TrainOutcome extends FitResult {
  path: string;
  id: string;
  classes: string[];
}

/** Starts a run in `out/<id>`, or in `path`, and trains it to its end. */
export async function train(config: TrainConfig, { out, path }: { out: string; path?: string }, surroundings: TrainSurroundings): Promise<TrainOutcome> {
  const dataset = await openConfigured(config, surroundings);
  const weights = await surroundings.openWeights(config.weights);
  const model = startModel(config, dataset.classes.length, weights);
  try {
    await using run = await RunDirectory.create(path ?? join(out, runId(config.recipe.name, new Date())), config, { version: VERSION, backend: surroundings.backend, machine: describeMachine() });
    await run.write(FILES.manifest, `${JSON.stringify(await makeManifest(dataset), null, 1)}\n`);
    const observe = recorder(run, surroundings);
    for (const skipped of dataset.skipped) await observe({ type: 'skip', ...skipped });
    await observe({ type: 'start', trainCount: dataset.train.length, validCount: dataset.valid.length, classes: dataset.classes, stepCount: config.epochs * stepCount(dataset.train.length, config.batchSize, config.dropLast), backend: surroundings.backend });
    return await trainIn(run, config, dataset, model, surroundings);
  } finally {
    model.dispose();
  }
}

/** Goes on with a run from its newest whole checkpoint, as if it had never stopped. */
export async function resume(path: string, surroundings: TrainSurroundings): Promise<TrainOutcome> {
  const config = await readConfig(path);
  const dataset = await openConfigured(config, surroundings);
  await requireSameData(path, dataset);
  await using run = await RunDirectory.open(path);
  const fresh = (await newestCheckpoint(path)) === null;
  const model = startModel(config, dataset.classes.length, fresh ? await surroundings.openWeights(config.weights) : { name: 'the checkpoint', tensors: new Map() });
  try {
    return await trainIn(run, config, dataset, model, surroundings);
  } finally {
    model.dispose();
  }
}

/** The configuration in a run's `run.yaml`. */
export async function readConfig(path: string): Promise<TrainConfig> {
  const text = await readIfThere(join(path, FILES.config));
  if (!text) throw new UserError(`${path} is no run directory: it has no ${FILES.config}.`);
  return parseConfig((parse(text.toString()) as { config: TrainConfig }).config);
}

async function trainIn(run: RunDirectory, config: TrainConfig, dataset: Dataset, model: Classifier, surroundings: TrainSurroundings): Promise<TrainOutcome> {
  const started = performance.now();
  const observe = recorder(run, surroundings);
  const optimizer = createOptimizer(config);
  const found = await newestCheckpoint(run.path);
  const start = found ? restoreState(found.bytes, { model, optimizer }) : START;
  const asked = found ? askedAgain(parseEvents((await readIfThere(join(run.path, FILES.events)))?.toString() ?? '')) : [];
  for (const step of found?.torn ?? []) await observe({ type: 'fault', message: `the checkpoint of step ${step} is torn and was passed over` });
  if (found) await observe({ type: 'resume', step: start.step, epoch: start.epoch });
  await using loader = new PictureLoader(dataset, { imageSize: config.imageSize, onBadPicture: config.skipBadImages ? 'skip' : 'throw', ...(surroundings.workers ? { workers: surroundings.workers } : {}) });
  try {
    const result = await fit({
      config, dataset, model, optimizer, loader, start,
      exchange: alone,
      signal: surroundings.signal ?? new AbortController().signal,
      emit: observe,
      askedChanges: () => asked,
      ...(surroundings.onPhase ? { onPhase: surroundings.onPhase } : {}),
      checkpoint: async (position, atEpochEnd) => {
        await leaveMilestone(run.path, { bytes: captureState({ model, optimizer, position }), position, atEpochEnd }, dataset, config);
        await run.sync();
        await observe({ type: 'checkpoint', step: position.step, epoch: position.epoch, best: atEpochEnd?.best ?? false });
      },
    });
    for (const skipped of loader.skipped) await observe({ type: 'skip', ...skipped });
    if (result.position.best) await writeBestModel(run, config, dataset.classes, result.position.best);
    await observe({ type: 'finish', step: result.position.step, validAccuracy: result.validAccuracy, seconds: (performance.now() - started) / 1000, reason: result.reason });
    return { ...result, path: run.path, id: run.id, classes: dataset.classes };
  } catch (error) {
    await observe({ type: 'fault', message: messageOf(error) }).catch(() => undefined);
    throw error;
  } finally {
    optimizer.dispose();
  }
}

/** A model with its first values: the body's from the weights, the head's from the seed. */
export function startModel(config: Pick<TrainConfig, 'architecture' | 'recipe' | 'seed'>, classCount: number, weights: StartWeights): Classifier {
  const model = createClassifier({ architecture: config.architecture, classCount, head: config.recipe.head, seed: config.seed, bodyIsLoaded: weights.tensors !== null });
  if (weights.tensors === null || weights.tensors.size === 0) return model;
  try {
    loadStateDict(model, weights.tensors, { scope: 'body', name: weights.name });
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

export function openConfigured(config: TrainConfig, { onProgress, signal }: Pick<TrainSurroundings, 'onProgress' | 'signal'>): Promise<Dataset> {
  return openDataset(config.data, { split: config.split, validFraction: config.validFraction, seed: config.seed, skipBadImages: config.skipBadImages, ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}) });
}

async function requireSameData(path: string, dataset: Dataset): Promise<void> {
  const text = await readIfThere(join(path, FILES.manifest));
  if (!text) return;
  const { missing, changed } = await verifyManifest(dataset.root, JSON.parse(text.toString()) as Parameters<typeof verifyManifest>[1]);
  const wrong = [...missing, ...changed];
  if (wrong.length > 0) throw new UserError(`The data in ${dataset.root} is not what this run began with: ${wrong.length} files are missing or changed, among them ${wrong.slice(0, 3).join(', ')}. Restore them, or start a new run.`);
}

const recorder = (run: RunDirectory, { observe }: TrainSurroundings) => async (event: NewEvent): Promise<void> => {
  const dated = await run.append(event);
  observe?.(dated);
};
