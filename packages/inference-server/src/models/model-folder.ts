import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Classifier, type ModelCard, UserError, createClassifier, loadStateDict, modelCardSchema, readSafetensors } from '@chameleon/core';

/** A trained model as it lies on the disk. */
export interface ModelFolder {
  card: ModelCard;
  weights: Uint8Array;
  weightsPath: string;
}

/** The folder with model.json in it: the path itself, or `model` in it where the path is a run's. */
export async function findModelFolder(path: string): Promise<string> {
  for (const folder of [join(path, 'model'), path]) {
    const found = await stat(join(folder, 'model.json')).catch(() => null);
    if (found?.isFile()) return folder;
  }
  throw new UserError(`${path} holds no trained model (model.json and model.safetensors). A run has one once an epoch is done.`);
}

/** @throws UserError when the card is missing or damaged */
export async function readModelCard(path: string): Promise<ModelCard> {
  const file = join(await findModelFolder(path), 'model.json');
  try {
    return modelCardSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw new UserError(`${file} can't be understood. It was written by another version, or is damaged.`, { cause: error });
  }
}

/** @throws UserError when something is missing or damaged, or the weights aren't those that the card was written for */
export async function readModelFolder(path: string): Promise<ModelFolder> {
  const card = await readModelCard(path);
  const weightsPath = join(await findModelFolder(path), 'model.safetensors');
  const weights = await readFile(weightsPath).catch((error: unknown) => {
    throw new UserError(`${weightsPath} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}). Copy the folder again.`, { cause: error });
  });
  if (createHash('sha256').update(weights).digest('hex') !== card.weightsSha256) {
    throw new UserError(`${weightsPath} is not the file that model.json was written for: its digest differs. Copy the folder again.`);
  }
  return { card, weights, weightsPath };
}

/**
 * Opens a model folder on the backend in use. The caller disposes the model.
 * @throws UserError when the folder holds no whole model
 */
export async function openClassifier(path: string): Promise<{ model: Classifier; card: ModelCard }> {
  const { card, weights, weightsPath } = await readModelFolder(path);
  const model = createClassifier({ architecture: card.architecture, classCount: card.classes.length, head: card.head, seed: 0, bodyIsLoaded: true });
  try {
    loadStateDict(model, readSafetensors(weights, weightsPath).tensors, { scope: 'all', name: weightsPath });
  } catch (error) {
    model.dispose();
    throw error;
  }
  return { model, card };
}
