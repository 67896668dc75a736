import { describe, expect, it } from 'vitest';
import { modulesMatch } from './node-modules.mjs';

const lockOf = (packages) => JSON.stringify({ lockfileVersion: 3, packages });
const everything = () => true;
const a = { version: '1.0.0', integrity: 'sha512-a' };
const lock = lockOf({
  '': { name: 'top' },
  'packages/core': { version: '0.1.0' },
  'node_modules/a': a,
  'node_modules/@chameleon/core': { resolved: 'packages/core', link: true },
  'node_modules/@esbuild/darwin-arm64': { version: '1.0.0', optional: true, os: ['darwin'] },
  'packages/core/node_modules/a': { version: '2.0.0', integrity: 'sha512-b' },
});
const installed = {
  'node_modules/a': a,
  'node_modules/@chameleon/core': { resolved: 'packages/core', link: true },
  'packages/core/node_modules/a': { version: '2.0.0', integrity: 'sha512-b' },
};

describe('node_modules', () => {
  it("holds what the lock asks for, though another platform's package and an optional one that failed are not there", () => {
    expect(modulesMatch(lock, lockOf(installed), everything)).toBe(true);
  });

  it('may hold more', () => {
    expect(modulesMatch(lock, lockOf({ ...installed, 'node_modules/more': a }), everything)).toBe(true);
  });

  it.each([
    ["npm's own lock is not there", null],
    ["npm's own lock was cut off", '{"packages": {"node_mod'],
    ['a package is missing', lockOf({ ...installed, 'node_modules/a': undefined })],
    ['a package is of another version', lockOf({ ...installed, 'node_modules/a': { ...a, version: '1.0.1' } })],
    ['a package has other contents', lockOf({ ...installed, 'node_modules/a': { ...a, integrity: 'sha512-c' } })],
    ['a workspace is not linked', lockOf({ ...installed, 'node_modules/@chameleon/core': undefined })],
    ["a package's own package is missing", lockOf({ ...installed, 'packages/core/node_modules/a': undefined })],
    ['an optional package is of another version', lockOf({ ...installed, 'node_modules/@esbuild/darwin-arm64': { version: '0.9.0' } })],
  ])('does not where %s', (_what, text) => {
    expect(modulesMatch(lock, text, everything)).toBe(false);
  });

  it("does not where a package's folder was removed by hand", () => {
    expect(modulesMatch(lock, lockOf(installed), (path) => path !== 'node_modules/a')).toBe(false);
  });
});
