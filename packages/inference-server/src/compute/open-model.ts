import { UserError } from '@chameleon/core';
import { ready, setBackend } from '@tensorflow/tfjs-core';
import type { EngineChoice, PrecisionChoice } from './messages.js';
import { ServedModel } from './served-model.js';

/** Registers a backend of TensorFlow.js, makes it the current one, and opens a model folder on it. @throws UserError */
export async function openServedModel(folder: string, precision: PrecisionChoice, engine: EngineChoice, threads?: number): Promise<ServedModel> {
  const module = await moduleOf(engine);
  if (!(await setBackend(engine.backend))) throw new UserError(`The backend ${engine.backend} does not start. \`chameleon doctor\` says why.`);
  await ready();
  if (threads !== undefined) {
    module.setThreads?.(threads);
    // A server computes shortly and seldom: left alone, the kernel packs its threads on one processor.
    module.bindThreads?.();
  }
  return ServedModel.open(folder, precision);
}

/** Has an engine give memory that it keeps for later back to the system, where it keeps any: what follows may be of other sizes, on another thread. */
export async function giveMemoryBack(engine: EngineChoice): Promise<void> {
  (await moduleOf(engine)).emptyCache?.();
}

/** What an engine's module may offer beside registering its backend. */
interface EngineModule {
  setThreads?: (count: number) => void;
  bindThreads?: () => boolean;
  emptyCache?: () => void;
}

const moduleOf = async ({ module }: EngineChoice): Promise<EngineModule> => (await import(module)) as EngineModule;
