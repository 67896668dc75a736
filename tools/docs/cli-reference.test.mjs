import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { createProgram } from '../../packages/cli/src/main.ts';
import { REFERENCE, renderReference } from './cli-reference.mjs';

describe('the reference of the command line', () => {
  it('is what the program says of itself now (made again by `node tools/docs/cli-reference.mjs` after a build)', async () => {
    expect(await readFile(REFERENCE, 'utf8')).toBe(renderReference(createProgram()));
  });
});
