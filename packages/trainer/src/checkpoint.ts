import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Classifier, type HostTensor, type Optimizer, UserError, loadStateDict, readSafetensors, stateDictOf, toDevice, toHost, writeSafetensors } from '@chameleon/core';
import { z } from 'zod';
import { explainDisk, readIfThere, sha256, writeWhole } from './files.js';
import { takenChangeSchema } from './live/change.js';
import { FILES } from './run-directory.js';

/**
 * Where a run stands between two steps. With parameters, optimizer state and statistics it is all that the rest of the
 * run depends on: random numbers are functions of seed, epoch and picture.
 */
export const positionSchema = z.object({
  /** Steps applied, over the whole run. */
  step: z.number().int().nonnegative(),
  epoch: z.number().int().nonnegative(),
  /** Steps applied of this epoch. */
  stepInEpoch: z.number().int().nonnegative(),
  /** Of this epoch so far. */
  totals: z.object({ lossSum: z.number(), correctCount: z.number(), pictureCount: z.number(), seconds: z.number() }),
  /** Validation accuracies of the epochs that are done. */
  history: z.array(z.number()),
  best: z.object({ epoch: z.number(), accuracy: z.number(), step: z.number() }).nullable(),
  /** What was changed of the live run so far. */
  changes: z.array(takenChangeSchema).default([]),
});
export type Position = z.infer<typeof positionSchema>;

const stateSchema = z.object({
  formatVersion: z.literal(1),
  position: positionSchema,
  optimizerSteps: z.record(z.string(), z.number()),
  digests: z.object({ model: z.string(), optimizer: z.string() }),
});

export const START: Position = { step: 0, epoch: 0, stepInEpoch: 0, totals: { lossSum: 0, correctCount: 0, pictureCount: 0, seconds: 0 }, history: [], best: null, changes: [] };

/** What a checkpoint is made of: model and optimizer as they stand, and where. */
export interface TrainingState {
  model: Classifier;
  optimizer: Optimizer;
  position: Position;
}

/** A checkpoint's files as bytes. */
export interface CheckpointBytes {
  model: Uint8Array;
  optimizer: Uint8Array;
  state: string;
}

/** Reads the state off the device: what comes back is what `restoreState` takes. */
export function captureState({ model, optimizer, position }: TrainingState): CheckpointBytes {
  const layouts = new Map(model.parameters().map((parameter) => [parameter.name, parameter.layout]));
  const { tensors, steps } = optimizer.state();
  const optimizerTensors = [...tensors].map(([key, value]) => [key, toHost(value, layouts.get(key.slice(key.indexOf('/') + 1)) ?? 'plain')] as const);
  const bytes = { model: writeSafetensors(stateDictOf(model)), optimizer: writeSafetensors(optimizerTensors) };
  const state: z.infer<typeof stateSchema> = { formatVersion: 1, position, optimizerSteps: steps, digests: { model: sha256(bytes.model), optimizer: sha256(bytes.optimizer) } };
  return { ...bytes, state: `${JSON.stringify(state, null, 2)}\n` };
}

/** Puts a checkpoint into a model and an optimizer; gives the position. */
export function restoreState({ model: modelBytes, optimizer: optimizerBytes, state }: CheckpointBytes, { model, optimizer }: Omit<TrainingState, 'position'>): Position {
  const { position, optimizerSteps } = stateSchema.parse(JSON.parse(state));
  loadStateDict(model, readSafetensors(modelBytes, 'The checkpoint').tensors, { scope: 'all', name: 'The checkpoint' });
  const parameters = new Map(model.parameters().map((parameter) => [parameter.name, parameter]));
  const tensorOf = ([key, value]: [string, HostTensor]) => {
    const parameter = parameters.get(key.slice(key.indexOf('/') + 1));
    if (!parameter) throw new UserError(`The checkpoint has optimizer state for ${key}, which the model hasn't.`);
    return [key, toDevice(value, parameter)] as const;
  };
  optimizer.load(new Map([...readSafetensors(optimizerBytes, 'The checkpoint').tensors].map(tensorOf)), optimizerSteps);
  return position;
}

const folderOf = (run: string, step: number) => join(run, FILES.checkpoints, String(step).padStart(8, '0'));

/** Writes `checkpoints/<step>/`: beside its place, then renamed, so that a folder of that name is whole or absent. */
export async function writeCheckpoint(run: string, step: number, { model, optimizer, state }: CheckpointBytes): Promise<void> {
  // Of its own name: one that was taken for lost may still be writing the same step.
  const folder = folderOf(run, step), partial = `${folder}.${randomUUID().slice(0, 8)}.partial`;
  try {
    await mkdir(partial, { recursive: true });
    await writeWhole(join(partial, 'model.safetensors'), model);
    await writeWhole(join(partial, 'optimizer.safetensors'), optimizer);
    await writeWhole(join(partial, 'state.json'), state);
    await rm(folder, { recursive: true, force: true });
    await rename(partial, folder);
    await writeWhole(join(run, FILES.checkpoints, 'last.json'), `${JSON.stringify({ step })}\n`);
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    throw explainDisk(error, folder);
  }
}

export function markBest(run: string, { step, epoch, accuracy }: NonNullable<Position['best']>): Promise<void> {
  return writeWhole(join(run, FILES.checkpoints, 'best.json'), `${JSON.stringify({ step, epoch, accuracy })}\n`);
}

/** Steps that have a checkpoint, ascending. */
export async function listCheckpoints(run: string): Promise<number[]> {
  const names = await readdir(join(run, FILES.checkpoints)).catch(() => []);
  return names.filter((name) => /^\d+$/.test(name)).map(Number).sort((a, b) => a - b);
}

/** Removes all but the newest `keep` checkpoints and the best, and what whoever was killed while it wrote left of steps before them. */
export async function pruneCheckpoints(run: string, keep: number, best: number | null): Promise<void> {
  const steps = await listCheckpoints(run), oldest = steps.at(-keep) ?? 0;
  for (const step of steps.slice(0, -keep)) if (step !== best) await rm(folderOf(run, step), { recursive: true, force: true });
  for (const name of await readdir(join(run, FILES.checkpoints))) if (name.endsWith('.partial') && parseInt(name, 10) < oldest) await rm(join(run, FILES.checkpoints, name), { recursive: true, force: true });
}

/** The checkpoint of a step. @throws UserError when a file is missing or its digest isn't the one that was written down */
export async function readCheckpoint(run: string, step: number): Promise<CheckpointBytes> {
  const folder = folderOf(run, step);
  const [model, optimizer, state] = await Promise.all(['model.safetensors', 'optimizer.safetensors', 'state.json'].map((name) => readIfThere(join(folder, name))));
  const broken = (problem: string) => new UserError(`The checkpoint ${folder} ${problem}.`);
  if (!model || !optimizer || !state) throw broken('is not whole');
  const parsed = stateSchema.safeParse(jsonOrNull(state.toString())).data;
  if (!parsed) throw broken('has a state.json that can not be read');
  if (sha256(model) !== parsed.digests.model || sha256(optimizer) !== parsed.digests.optimizer) throw broken('is torn: its bytes are not those that were written');
  return { model, optimizer, state: state.toString() };
}

/** The newest checkpoint that is whole, older ones tried in turn; `torn` are those that were passed over. */
export async function newestCheckpoint(run: string): Promise<{ bytes: CheckpointBytes; step: number; torn: number[] } | null> {
  const torn: number[] = [];
  for (const step of (await listCheckpoints(run)).reverse()) {
    try {
      return { bytes: await readCheckpoint(run, step), step, torn };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      torn.push(step);
    }
  }
  return null;
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
