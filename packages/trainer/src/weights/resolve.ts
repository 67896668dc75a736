import { stat } from 'node:fs/promises';
import { type HostTensor, UserError, readWeights } from '@chameleon/core';
import { readIfThere } from '../files.js';
import { findKnownWeights, pathOfWeights, weightsFolder } from './registry.js';

/**
 * A state dictionary by a file's path (.safetensors, .pth, .th) or a name that `weights list` shows.
 * @throws UserError when there is none, it isn't pulled yet, or it is damaged
 */
export async function openWeights(named: string, folder = weightsFolder()): Promise<{ name: string; tensors: Map<string, HostTensor> }> {
  const isFile = (await stat(named).catch(() => null))?.isFile() ?? false;
  const path = isFile ? named : pathOfWeights(findKnownWeights(named), folder);
  const bytes = await readIfThere(path);
  if (!bytes) throw new UserError(`The weights ${named} are not here yet. Fetch them: chameleon weights pull ${named}`);
  return { name: isFile ? path : named, tensors: readWeights(bytes, path) };
}

/** What a run starts from: a state dictionary by path or name, or with `random` none. @throws UserError as `openWeights` does */
export async function openStartWeights(named: string): Promise<{ name: string; tensors: Map<string, HostTensor> | null }> {
  return named === 'random' ? { name: 'random weights', tensors: null } : openWeights(named);
}
