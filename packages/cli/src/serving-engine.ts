import { type BackendName, UserError, chooseBackend, messageOf } from '@chameleon/core';
import type { EngineChoice } from '@chameleon/inference-server';
import { backendCandidates } from './engine.js';

/** What may compute answers, best first. */
export const SERVING_BACKENDS = ['libtorch', 'onnxruntime', 'tensorflow', 'wasm', 'cpu'] as const;
export type ServingBackend = (typeof SERVING_BACKENDS)[number];

export interface ServingEngine {
  engine: EngineChoice;
  /** The better ones, and why they can't be used here. */
  passedOver: { name: string; reason: string }[];
}

const PACKAGES: Record<ServingBackend, string[]> = { libtorch: ['@chameleon/tfjs-libtorch'], onnxruntime: ['onnxruntime-node'], tensorflow: ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'], wasm: ['@tensorflow/tfjs-backend-wasm'], cpu: ['@tensorflow/tfjs-backend-cpu'] };

/** The backend that was asked for, or with `auto` the first that loads. @throws UserError when it can't be had */
export async function servingEngineFor(wanted: ServingBackend | 'auto'): Promise<ServingEngine> {
  const passedOver: ServingEngine['passedOver'] = [];
  for (const name of wanted === 'auto' ? SERVING_BACKENDS : [wanted]) {
    try {
      return { engine: await open(name), passedOver };
    } catch (error) {
      if (wanted !== 'auto') throw error;
      passedOver.push({ name, reason: messageOf(error) });
    }
  }
  throw new UserError(`No backend can be used here. ${passedOver.map(({ reason }) => reason).join(' ')}`);
}

async function open(name: ServingBackend): Promise<EngineChoice> {
  if (name !== 'onnxruntime') return engineOf((await chooseBackend(name, backendCandidates())).name);
  await import('onnxruntime-node').catch((error: unknown) => {
    throw new UserError(`The backend onnxruntime cannot be used here. ${messageOf(error).split('\n')[0]!} Run \`npm install onnxruntime-node\`.`, { cause: error });
  });
  return { module: resolveFirst(PACKAGES.onnxruntime), backend: name, gradients: engineOf((await firstOf(['libtorch', 'wasm', 'cpu'])).name) };
}

/** The first of these that loads: heat maps are computed by it. */
async function firstOf([first, ...others]: BackendName[]): Promise<{ name: BackendName }> {
  return chooseBackend(first!, backendCandidates()).catch((error: unknown) => {
    if (others.length === 0) throw error;
    return firstOf(others);
  });
}

/** A backend as the module that a compute thread imports. */
export const engineOf = (name: BackendName): EngineChoice => ({ module: resolveFirst(PACKAGES[name]), backend: name });

/** Resolved from here: the thread that imports it belongs to a package that doesn't depend on it. */
function resolveFirst([first, ...others]: string[]): string {
  try {
    return import.meta.resolve(first!);
  } catch (error) {
    if (others.length === 0) throw error;
    return resolveFirst(others);
  }
}
