// Runs the conformance suite on one backend: `node FILE BACKEND RESULTS`, bundled by tools/conformance. Writes a JSON of rows and kernels.
import '@tensorflow/tfjs-backend-cpu';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { addon } from '../../addon.js';
import type { LibtorchBackend } from '../../backend.js';
import { compareBackends, recordKernels } from '../../conformance/compare.js';
import { ownCases, publicCases } from '../../conformance/suite.js';
import '../../index.js';
import { BACKEND_NAME } from '../../kernel.js';

const [backend, file] = process.argv.slice(2) as [string, string];
const own = backend === BACKEND_NAME;
if (backend === 'wasm') setWasmPaths(join(dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm')), '/'));

// Its package is there where set-up was asked for it alone; the compiler is not told of it.
const tensorflow: string = '@tensorflow/tfjs-node-gpu';
if (backend === 'tensorflow') await import(tensorflow);

const dtypeOf = (x: tf.TensorInfo) => (own && addon().scalarType((tf.engine().backend as LibtorchBackend).handle(x)) === 'BFloat16' ? 'bfloat16' : x.dtype);
const recorder = recordKernels(backend, dtypeOf);
const rows = await compareBackends(own ? [...publicCases, ...ownCases] : publicCases, backend);
// TF.js exports the name of each of its kernels.
const known = new Set<unknown>(Object.values(tf));
const kernels = tf.getKernelsForBackend(backend).map(({ kernelName }) => ({
  name: kernelName, dtypes: [...(recorder.called.get(kernelName) ?? [])].sort(), gradient: tf.getGradient(kernelName) !== undefined, ours: !known.has(kernelName),
}));
// JSON has no infinity: a row that failed has none to show.
writeFileSync(file, JSON.stringify({ backend, version: own ? addon().version : null, rows: rows.map((row) => ({ ...row, largestError: Number.isFinite(row.largestError) ? row.largestError : null })), kernels }));
process.exit(0);
