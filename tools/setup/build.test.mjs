import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bringBuild, buildIsCurrent } from './build.mjs';
import { layoutOf } from './checkout.mjs';
import { emptyState } from './state.mjs';
import { temporaryFolder, writeTree } from './testing.mjs';

const report = { stage: (_name, work) => work() };

/** A checkout with a library and a package with a page. The tools are stood in for: each leaves what it would make. */
function checkout() {
  const root = temporaryFolder();
  writeTree(root, { 'tsconfig.json': '{"references": [{"path": "packages/a/tsconfig.lib.json"}]}', 'packages/a/src/index.ts': '', 'packages/b/vite.config.ts': '', 'packages/b/src/page/index.html': '' });
  const calls = [];
  const run = async ([, tool, ...args], { env }) => {
    calls.push([tool.split('/').at(-1), ...args.filter((word) => word.startsWith('-')), env?.NODE_ENV]);
    writeTree(root, tool.endsWith('tsc') ? { 'packages/a/dist/lib.tsbuildinfo': 'x' } : { 'packages/b/dist/page/index.html': 'x' });
    return { code: 0, output: '' };
  };
  return { root, layout: layoutOf(root), run, calls };
}

describe('the build', () => {
  it('makes libraries, then pages as they are in production, and then is current until a source changes', async () => {
    const { root, layout, run, calls } = checkout();
    const state = await bringBuild({ layout, run, report, force: false }, emptyState());
    expect(calls).toEqual([['tsc', '-b', '--pretty', undefined], ['vite.js', '--config', '--logLevel', 'production']]);
    expect(buildIsCurrent(layout, state)).toBe(true);
    await bringBuild({ layout, run, report, force: false }, state);
    expect(calls).toHaveLength(2);
    for (const changed of ['packages/b/src/page/index.html', 'packages/b/vite.config.ts']) {
      writeTree(root, { [changed]: 'changed' });
      expect(buildIsCurrent(layout, state), changed).toBe(false);
    }
  });

  it('is not current without its page', async () => {
    const { root, layout, run } = checkout();
    const state = await bringBuild({ layout, run: async (command, options) => (command[1].endsWith('tsc') ? run(command, options) : { code: 0, output: '' }), report, force: false }, emptyState());
    expect(existsSync(join(root, 'packages/b/dist/page/index.html'))).toBe(false);
    expect(buildIsCurrent(layout, state)).toBe(false);
  });

  it('says which page failed', async () => {
    const { layout, run } = checkout();
    const failing = (command, options) => (command[1].endsWith('vite.js') ? Promise.resolve({ code: 1, output: 'no such module' }) : run(command, options));
    await expect(bringBuild({ layout, run: failing, report, force: false }, emptyState())).rejects.toMatchObject({ message: expect.stringMatching(/page of .*b can't be built/), tail: ['no such module'] });
  });
});
