import '@tensorflow/tfjs-backend-cpu';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { setBackend } from '@tensorflow/tfjs-core';
import '@chameleon/tfjs-libtorch';

/** The backends that core's tests run on. */
export const TEST_BACKENDS = ['cpu', 'wasm', 'libtorch'] as const;
export type TestBackend = (typeof TEST_BACKENDS)[number];

/** Makes a backend TF.js's current one. TF.js has one engine a process, so tests on several take turns. */
export async function useBackend(name: TestBackend): Promise<void> {
  if (name === 'wasm') setWasmPaths(join(dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm')), '/'));
  if (!(await setBackend(name))) throw new Error(`the backend ${name} does not start`);
}
