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

/** The file of the weights that a path or a name stands for, where it is here; null for `random` and where it isn't. @throws UserError for a name that nobody knows, unless it is a path */
export async function fileOfWeights(named: string, folder = weightsFolder()): Promise<string | null> {
  if (named === 'random') return null;
  const isFile = async (path: string) => (await stat(path).catch(() => null))?.isFile() ?? false;
  if (await isFile(named)) return named;
  if (/[/\\]/.test(named)) return null;
  const path = pathOfWeights(findKnownWeights(named), folder);
  return (await isFile(path)) ? path : null;
}

/** What a run starts from: a state dictionary by path or name, or with `random` none. @throws UserError as `openWeights` does */
export async function openStartWeights(named: string): Promise<{ name: string; tensors: Map<string, HostTensor> | null }> {
  return named === 'random' ? { name: 'random weights', tensors: null } : openWeights(named);
}
