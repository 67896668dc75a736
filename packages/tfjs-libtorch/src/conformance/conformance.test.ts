import '@tensorflow/tfjs-backend-cpu';
// TF.js's build for Node registers neither gradients nor the methods of tensors that some of them call.
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { getKernelsForBackend } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import '../index.js';
import { BACKEND_NAME } from '../kernel.js';
import { type ConformanceRow, compareBackends, recordKernels } from './compare.js';
import { ownCases, publicCases } from './suite.js';

describe('the libtorch backend', () => {
  let rows: ConformanceRow[];
  let called: Set<string>;
  beforeAll(async () => {
    const recorder = recordKernels(BACKEND_NAME);
    rows = await compareBackends([...publicCases, ...ownCases], BACKEND_NAME);
    recorder.stop();
    called = recorder.called;
  });

  it("computes what TF.js's own cpu backend computes, in every case of the suite", () => {
    expect(rows.length).toBeGreaterThan(800);
    expect(rows.filter((row) => row.failure).map(({ kernel, what, failure }) => `${kernel}, ${what}: ${failure}`)).toEqual([]);
  });

  it('has no kernel that the suite leaves out', () => {
    // These two are libtorch's alone, whose handles mean nothing to another backend: prepared-convolution.test.ts has them.
    const ownTests = ['PrepareConvolution', 'PreparedConvolution'];
    expect(getKernelsForBackend(BACKEND_NAME).map(({ kernelName }) => kernelName).filter((name) => !called.has(name))).toEqual(ownTests);
  });
});
