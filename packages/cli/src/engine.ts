import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type BackendCandidate, type BackendName, type Precision, UserError, chooseBackend, supportsPrecision } from '@chameleon/core';
import type { Given } from './settings.js';

/** Where libtorch computes. */
export type Device = 'cpu' | 'cuda';

/** What computes, once it is chosen. */
export interface Engine {
  backend: BackendName;
  /** Where the backend computes. */
  device: Device;
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

/** Chooses the backend as flags say, and sets its threads. @throws UserError when it, or the device, can't be had */
export async function startEngine(given: Given): Promise<Engine> {
  const { backend: wanted = 'auto', threads = availableParallelism(), device = 'cpu' } = given as { backend?: BackendName | 'auto'; threads?: number; device?: Device };
  const { name } = await chooseBackend(wanted, backendCandidates());
  await chooseDevice(device, name);
  if (name !== 'libtorch') return { backend: name, device, description: name, exchange: 'grpc' };
  const { collectives, libtorchVersion, setThreads } = await import('@chameleon/tfjs-libtorch');
  setThreads(threads);
  const where = device === 'cuda' ? 'CUDA' : `${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  return { backend: name, device, description: `libtorch ${libtorchVersion()}, ${where}`, exchange: collectives().includes('gloo') ? 'gloo' : 'grpc' };
}

/**
 * Checks that the backend computes on a device, and puts it into the environment, so that the threads and processes which a command
 * starts compute there too.
 * @throws UserError when the device can't be had
 */
export async function chooseDevice(device: Device, backend: BackendName): Promise<void> {
  if (device === 'cpu') return;
  if (backend !== 'libtorch') throw new UserError(`The backend ${backend} does not compute on ${device}. Leave --device out, or choose --backend libtorch.`, { exitCode: 2 });
  const { hasCuda } = await import('@chameleon/tfjs-libtorch');
  if (!hasCuda()) throw new UserError(`This libtorch finds no device ${device}. \`chameleon doctor\` says what is there; \`node tools/setup.mjs --engine pip\` brings a libtorch with CUDA.`, { exitCode: 2 });
  process.env['CHAMELEON_DEVICE'] = device;
}

/** bfloat16 where the backend holds it and what it computes on multiplies it; a precision asked for is checked. */
export function resolvePrecision(wanted: Precision | 'auto', { backend, device }: Pick<Engine, 'backend' | 'device'>): Precision {
  if (wanted === 'auto') return supportsPrecision('bfloat16') && (device === 'cuda' || processorHasBfloat16()) ? 'bfloat16' : 'float32';
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
