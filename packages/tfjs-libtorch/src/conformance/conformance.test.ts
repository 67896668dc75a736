import '@tensorflow/tfjs-backend-cpu';
// TF.js's build for Node registers neither gradients nor the methods of tensors that some of them call.
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { getGradient, getKernelsForBackend } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import '../index.js';
import { BACKEND_NAME } from '../kernel.js';
import { FUSED_KERNELS } from '../kernels/fusion.js';
import { type ConformanceRow, compareBackends, recordKernels } from './compare.js';
import { ownCases, publicCases } from './suite.js';

const names = () => getKernelsForBackend(BACKEND_NAME).map(({ kernelName }) => kernelName);

describe('the libtorch backend', () => {
  let rows: ConformanceRow[];
  let called: Map<string, Set<string>>;
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
    // These are libtorch's alone, whose handles mean nothing to another backend: prepared-convolution.test.ts, prepared-network.test.ts and fusion.test.ts have them.
    const ownTests = ['PrepareConvolution', 'PreparedConvolution', 'PrepareNetwork', 'PreparedNetwork', 'PreparedNetworkInBytes', ...FUSED_KERNELS].filter((name) => names().includes(name));
    expect(names().filter((name) => !called.has(name)).sort()).toEqual(ownTests.sort());
  });

  it("has every kernel of TF.js's cpu backend that takes numbers", () => {
    const mine = new Set(names());
    expect(getKernelsForBackend('cpu').map(({ kernelName }) => kernelName).filter((name) => !mine.has(name)).sort()).toEqual(['Draw', 'StaticRegexReplace', 'StringNGrams', 'StringSplit', 'StringToHashBucketFast']);
  });

  it('has a case for the gradient of each kernel that TF.js knows one of', () => {
    const tried = new Set(rows.filter(({ what }) => what.startsWith('gradient')).map(({ kernel }) => kernel));
    // Their gradients are zero everywhere; and TF.js's of a complex number's length leads no further, for it has none of its parts.
    const untried = ['ArgMax', 'ArgMin', 'ComplexAbs', 'GreaterEqual', 'IsFinite', 'IsInf', 'IsNan', 'OneHot', 'OnesLike', 'ZerosLike'];
    expect(names().filter((name) => getGradient(name) !== undefined && !tried.has(name)).sort()).toEqual(untried);
  });
});
