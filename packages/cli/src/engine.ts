import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type BackendCandidate, type BackendName, type Precision, UserError, chooseBackend, supportsPrecision } from '@chameleon/core';

/** What computes, once it is chosen. */
export interface Engine {
  backend: BackendName;
  /** For a person: "libtorch 1.13.0, 2 threads". */
  description: string;
  /** How processes add up their gradients: not every libtorch can do it. */
  exchange: 'gloo' | 'grpc';
}

/** A package of TensorFlow's, which may be absent: its name is hidden from the compiler. */
const optionalPackage = (name: string): Promise<unknown> => import(name);

/** All backends, best first, with what mends each. */
export function backendCandidates(): BackendCandidate[] {
  return [
    {
      name: 'libtorch',
      load: async () => void (await import('@chameleon/tfjs-libtorch')).libtorchVersion(),
      remedy: 'Run `node tools/setup.mjs`.',
    },
    {
      name: 'tensorflow',
      load: async () => void (await optionalPackage('@tensorflow/tfjs-node-gpu').catch(() => optionalPackage('@tensorflow/tfjs-node'))),
      remedy: 'Run `node tools/setup.mjs --engine tensorflow`.',
    },
    { name: 'wasm', load: async () => void (await import('@tensorflow/tfjs-backend-wasm')), remedy: 'Run `npm ci`.' },
    { name: 'cpu', load: async () => void (await import('@tensorflow/tfjs-backend-cpu')), remedy: 'Run `npm ci`.' },
  ];
}

/** What of a libtorch that loads a person should know: which one, where, on what it computes; and what would be faster. */
export async function describeLibtorch(): Promise<{ version: string; path: string | null; cuda: boolean; advice: string | null }> {
  const { hasCuda, libtorchPath, libtorchVersion } = await import('@chameleon/tfjs-libtorch');
  const cuda = hasCuda(), gpu = existsSync('/proc/driver/nvidia/version');
  const advice = gpu && !cuda ? 'An NVIDIA GPU is here, but this libtorch computes on the processor: `node tools/setup.mjs --engine pip` brings one with CUDA.' : null;
  return { version: libtorchVersion(), path: libtorchPath(), cuda, advice };
}

/** Chooses the backend and sets its threads. @throws UserError when it can't be had */
export async function startEngine(wanted: BackendName | 'auto', threads = availableParallelism()): Promise<Engine> {
  const { name } = await chooseBackend(wanted, backendCandidates());
  if (name !== 'libtorch') return { backend: name, description: name, exchange: 'grpc' };
  const { collectives, libtorchVersion, setThreads } = await import('@chameleon/tfjs-libtorch');
  setThreads(threads);
  return { backend: name, description: `libtorch ${libtorchVersion()}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`, exchange: collectives().includes('gloo') ? 'gloo' : 'grpc' };
}

/** bfloat16 where the backend holds it and the processor multiplies it; a precision asked for is checked. */
export function resolvePrecision(wanted: Precision | 'auto', backend: BackendName): Precision {
  if (wanted === 'auto') return supportsPrecision('bfloat16') && processorHasBfloat16() ? 'bfloat16' : 'float32';
  if (!supportsPrecision(wanted)) throw new UserError(`The backend ${backend} computes in float32 only. Leave --precision out, or choose --backend libtorch.`, { exitCode: 2 });
  return wanted;
}

function processorHasBfloat16(): boolean {
  try {
    return /\b(avx512_bf16|amx_bf16)\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}
