import '@tensorflow/tfjs-backend-cpu';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
// TF.js's build for Node registers neither gradients nor the methods of tensors that some of them call.
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { compareBackends } from './compare.js';
import { publicCases } from './suite.js';

/** Kernels of TF.js's wasm backend that differ from its cpu backend in a case or more: on NaN, on bool, on nothing, on channels before height and width, in gradients at edges. */
const DIFFERENT = [
  'All', 'Any', 'AvgPool', 'AvgPool3D', 'BatchMatMul', 'Cast', 'ClipByValue', 'Conv2D', 'Conv3D', 'Conv3DBackpropInputV2', 'CropAndResize', 'DenseBincount', 'Dilation2D', 'FloorDiv', 'FusedConv2D',
  'FusedDepthwiseConv2D', 'GatherV2', 'MaxPool', 'MaxPool3D', 'MaxPoolWithArgmax', 'Maximum', 'Minimum', 'Multinomial', 'Prod', 'Relu6', 'ResizeBilinear', 'ResizeNearestNeighbor', 'Reverse', 'Sign',
  'StridedSlice', 'Transform',
];
/** Kernels that it has not, or that gradients call and it has not. */
const missing = (failure: string) => /Kernel '\w+' not registered for backend 'wasm'/.test(failure);

it("runs unchanged on TF.js's wasm backend", async () => {
  setWasmPaths(join(dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm')), '/'));
  const rows = await compareBackends(publicCases, 'wasm'), failed = rows.filter(({ failure }) => failure !== null);
  expect(failed.length).toBeLessThan(rows.length / 5);
  expect(failed.filter(({ kernel, failure }) => !missing(failure!) && !DIFFERENT.includes(kernel))).toEqual([]);
});
