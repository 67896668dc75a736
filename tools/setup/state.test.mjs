import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { emptyState, readState, writeState } from './state.mjs';
import { temporaryFolder } from './testing.mjs';

describe('the state', () => {
  it('comes back as it was written, with nothing left beside it', () => {
    const folder = join(temporaryFolder(), '.setup');
    const path = join(folder, 'state.json');
    const state = { ...emptyState(), build: 'abc', failed: { '2.7.1 pip': { reason: 'broken', key: 'k' } }, aptFailure: { packages: ['g++'], at: 1 } };
    writeState(path, state);
    expect(readState(path)).toEqual(state);
    expect(readdirSync(folder)).toEqual(['state.json']);
  });

  it.each([['nothing', null], ['half a file', '{"version": 1, "bui'], ['another version', '{"version": 2, "build": "abc"}'], ['null', 'null'], ['a list', '[]']])('is empty out of %s', (_what, text) => {
    const path = join(temporaryFolder(), 'state.json');
    if (text !== null) writeFileSync(path, text);
    expect(readState(path)).toEqual(emptyState());
    if (text !== null) expect(readFileSync(path, 'utf8')).toBe(text);
  });
});
