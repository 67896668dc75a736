import { type Architecture, type Precision, UserError, detectArchitecture, findArchitecture } from '@chameleon/core';
import { type StartWeights, type TrainConfig, openStartWeights } from '@chameleon/trainer';
import { type Engine, resolvePrecision, startEngine } from './engine.js';
import { type Given, makeConfig, readConfigFile } from './settings.js';

/** The side that suits weights which were made from small pictures, and torchvision's own for the rest. */
const EMBEDDED_IMAGE_SIZE = 64;
const IMAGE_SIZE = 224;

export interface PreparedRun {
  config: TrainConfig;
  engine: Engine;
  weights: StartWeights;
}

/** What a command that trains needs: the engine, the weights, and the configuration out of flags, environment and file. */
export async function prepareRun(given: Given): Promise<PreparedRun> {
  const file = typeof given['config'] === 'string' ? await readConfigFile(given['config']) : {};
  const data = given['data'] ?? file['data'];
  if (typeof data !== 'string') throw new UserError('Say which pictures to train with: --data DIR, a folder of class folders. `chameleon dataset synth` draws one.', { exitCode: 2 });
  const named = given['weights'] ?? file['weights'] ?? 'embedded';
  if (typeof named !== 'string') throw new UserError('The weights in the configuration are no name and no path. Write one in quotes, or leave it out.', { exitCode: 2 });
  const engine = await startEngine(given);
  const weights = await openStartWeights(named);
  const architecture = chooseArchitecture((given['arch'] ?? file['architecture']) as string | undefined, weights);
  const precision = resolvePrecision((given['precision'] ?? file['precision'] ?? 'auto') as Precision | 'auto', engine);
  const imageSize = architecture.width < 64 ? EMBEDDED_IMAGE_SIZE : IMAGE_SIZE;
  const config = await makeConfig({ ...given, weights: named, data }, { architecture: architecture.name, precision, imageSize }, file);
  return { config, engine, weights };
}

/** The architecture that was asked for, else the one that the weights are of. */
export function chooseArchitecture(named: string | undefined, weights: StartWeights): Architecture {
  if (named !== undefined) return findArchitecture(named);
  if (weights.tensors === null) return findArchitecture('resnet34');
  const found = detectArchitecture(weights.tensors);
  if (found) return found;
  throw new UserError(`${weights.name} are of no architecture that we know. If they are a ResNet of torchvision's, say which with --arch.`, { exitCode: 2 });
}
