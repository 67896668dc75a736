import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Classifier, type ModelCard, UserError, createClassifier, loadStateDict, modelCardSchema, readSafetensors } from '@chameleon/core';
import { explainDisk, readIfThere, sha256, writeWhole } from './files.js';
import { FILES } from './run-directory.js';

/** Writes `model/`: the weights and what somebody needs beside them. */
export async function writeModel(folder: string, weights: Uint8Array, card: Omit<ModelCard, 'weightsSha256' | 'formatVersion'>): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw explainDisk(error, folder);
  }
  await writeWhole(join(folder, 'model.safetensors'), weights);
  const whole: ModelCard = { formatVersion: 1, ...card, weightsSha256: sha256(weights) };
  await writeWhole(join(folder, 'model.json'), `${JSON.stringify(whole, null, 2)}\n`);
}

/**
 * Opens a model folder, or the one in a run directory. The caller disposes the model.
 * @throws UserError when there is none, or the weights aren't those that the card was written for
 */
export async function openModel(path: string): Promise<{ model: Classifier; card: ModelCard }> {
  const folder = (await stat(join(path, FILES.model, 'model.json')).catch(() => null)) ? join(path, FILES.model) : path;
  const [text, weights] = await Promise.all([readIfThere(join(folder, 'model.json')), readIfThere(join(folder, 'model.safetensors'))]);
  if (!text || !weights) throw new UserError(`${path} holds no trained model (model.json and model.safetensors). A run has one once an epoch is done.`);
  const card = parseCard(text.toString(), folder);
  if (sha256(weights) !== card.weightsSha256) throw new UserError(`${join(folder, 'model.safetensors')} is not the file that model.json was written for: its digest differs. Copy the folder again.`);
  const model = createClassifier({ architecture: card.architecture, classCount: card.classes.length, head: card.head, seed: 0, bodyIsLoaded: true });
  try {
    loadStateDict(model, readSafetensors(weights, join(folder, 'model.safetensors')).tensors, { scope: 'all', name: join(folder, 'model.safetensors') });
  } catch (error) {
    model.dispose();
    throw error;
  }
  return { model, card };
}

function parseCard(text: string, folder: string): ModelCard {
  try {
    return modelCardSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new UserError(`${join(folder, 'model.json')} can't be understood. It was written by another version, or is damaged.`, { cause: error });
  }
}
