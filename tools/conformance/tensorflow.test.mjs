import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { bindingPlace } from '../setup/tensorflow.mjs';
import { runProgram } from './run.mjs';

const home = fileURLToPath(new URL('../../node_modules/@tensorflow/tfjs-node-gpu', import.meta.url));
const isThere = existsSync(`${home}/package.json`) && existsSync(bindingPlace(home));

/** What TF.js's binding of TensorFlow refuses or has not: paddings by numbers, channels first, operators that it does not know, comparisons of bool, values at edges. */
const SHARE_THAT_DIFFERS = 0.15;

describe.skipIf(!isThere)("TensorFlow's own engine (where `setup --engine tensorflow` was run)", () => {
  it('runs the suite unchanged, and agrees in all that it has', async () => {
    const [{ rows }] = await runProgram('conformance', ['tensorflow'], { env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' } });
    const differing = rows.filter(({ failure }) => failure !== null);
    expect(rows.length).toBeGreaterThan(900);
    expect(differing.length / rows.length).toBeLessThan(SHARE_THAT_DIFFERS);
    const basic = ['Add', 'BatchMatMul', 'Concat', 'Exp', 'FusedBatchNorm', 'Mean', 'Multiply', 'Relu', 'Softmax', 'Sub', 'Sum', 'Transpose'];
    expect(differing.filter(({ kernel }) => basic.includes(kernel))).toEqual([]);
  });
});
