import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { beforeAll, describe, expect, it } from 'vitest';
import '../index.js';
import { compareBackends } from './compare.js';
import { ownCases, publicCases } from './suite.js';

describe('the libtorch backend', () => {
  let rows: Awaited<ReturnType<typeof compareBackends>>;
  beforeAll(async () => {
    rows = await compareBackends([...publicCases, ...ownCases], 'libtorch');
  });

  it("computes what TF.js's own cpu backend computes, in every case of the suite", () => {
    expect(rows.length).toBeGreaterThan(100);
    expect(rows.filter((row) => row.failure).map(({ kernel, what, failure }) => `${kernel}, ${what}: ${failure}`)).toEqual([]);
  });
});
