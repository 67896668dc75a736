import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ANSWERED_OTHERWISE } from './answered-otherwise.js';
import { bundlePublishedTests } from './bundle.js';
import type { CaseResult } from './jasmine.js';

const place = (name: string) => fileURLToPath(new URL(`../../../build/published-tests.${process.pid}.${name}`, import.meta.url));
const bundle = place('mjs'), made = [bundle];

/** What TF.js's cases give on a backend, in a process of its own: Jasmine and vitest name their functions alike. */
async function casesOn(backend: string): Promise<CaseResult[]> {
  const file = place(`${backend}.json`);
  made.push(file);
  await promisify(execFile)(process.execPath, [bundle, backend, file], { timeout: 110_000, maxBuffer: 64 << 20 });
  return JSON.parse(readFileSync(file, 'utf8')) as CaseResult[];
}

beforeAll(() => bundlePublishedTests(bundle));
afterAll(() => made.forEach((file) => rmSync(file, { force: true })));

describe("TF.js's own published cases", () => {
  it('pass on its cpu backend as they are run here', async () => {
    const cases = await casesOn('cpu');
    expect(cases.length).toBeGreaterThan(3800);
    expect(cases.filter(({ passed }) => !passed)).toEqual([]);
  });

  it('pass on libtorch, but for those that are listed with a reason', async () => {
    const cases = await casesOn('libtorch'), listed = Object.values(ANSWERED_OTHERWISE).flat();
    expect(cases.length).toBeGreaterThan(3800);
    const failed = cases.filter(({ passed }) => !passed);
    expect(failed.filter(({ name }) => !listed.includes(name))).toEqual([]);
    expect(listed.filter((name) => !failed.some((result) => result.name === name)), 'listed, but they pass or are gone').toEqual([]);
  });
});
