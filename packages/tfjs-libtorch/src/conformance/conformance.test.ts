import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import '../index.js';
import { compareBackends } from './compare.js';
import { ownCases, publicCases } from './suite.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
const rows = await compareBackends([...publicCases, ...ownCases], 'libtorch');
describe('x', () => { it('y', () => {
  for (const r of rows.filter((r) => r.failure)) console.log(r.kernel, '|', r.what, '|', r.failure);
  console.log(rows.length, rows.filter((r) => r.failure).length);
  expect(1).toBe(1);
}); });
