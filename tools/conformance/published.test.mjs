import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ANSWERED_OTHERWISE } from '../../packages/tfjs-libtorch/src/testing/published/answered-otherwise.ts';
import { bundlePlace } from './bundle.mjs';
import { runProgram } from './run.mjs';

describe("TF.js's own published cases", () => {
  it('pass on its cpu backend as they are run here', async () => {
    const [cases] = await runProgram('published', ['cpu']);
    expect(cases.length).toBeGreaterThan(3800);
    expect(cases.filter(({ passed }) => !passed)).toEqual([]);
  });

  it.skipIf(!existsSync(bundlePlace('tfjs_libtorch.node')))('pass on libtorch (where it is set up), but for those that are listed with a reason', async () => {
    const [cases] = await runProgram('published', ['libtorch']), listed = Object.values(ANSWERED_OTHERWISE).flat();
    expect(cases.length).toBeGreaterThan(3800);
    const failed = cases.filter(({ passed }) => !passed);
    expect(failed.filter(({ name }) => !listed.includes(name))).toEqual([]);
    expect(listed.filter((name) => !failed.some((result) => result.name === name)), 'listed, but they pass or are gone').toEqual([]);
  });
});
