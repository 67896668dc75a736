import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder, writeTree } from './testing.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Stands in for npm, so that no test needs a registry: waits while `slow` is there, fails where `fails` is, else makes npm's own lock. */
const NPM = `#!/bin/sh
if [ "$1" = --version ]; then echo 11.0.0; exit; fi
echo $$ > npm.pid
echo "npm $*" >> npm.calls
while [ -e slow ]; do sleep 0.05; done
if [ -e fails ]; then cat fails; exit 1; fi
echo '{"packages": {}}' > node_modules/.package-lock.json
`;

const LIBRARY = {
  'packages/a/tsconfig.lib.json': JSON.stringify({ extends: '../../tsconfig.base.json', compilerOptions: { rootDir: 'src', outDir: 'dist', tsBuildInfoFile: 'dist/lib.tsbuildinfo' }, include: ['src'] }),
  'packages/a/src/index.ts': 'export const answer: number = 42;\n',
};

/** A small checkout of its own with this very set-up in it, and a package to be built. npm's packages are there but for TypeScript's. */
function freshCheckout({ withModules = true } = {}) {
  const root = temporaryFolder();
  writeTree(root, {
    'package-lock.json': '{"packages": {"": {}}}',
    'tsconfig.json': '{"files": [], "references": [{"path": "packages/a/tsconfig.lib.json"}]}',
    'tsconfig.base.json': '{"compilerOptions": {"target": "es2023", "lib": ["es5"], "module": "nodenext", "strict": true, "skipLibCheck": true, "composite": true, "types": []}}',
    'bin/npm': NPM,
    ...LIBRARY,
    ...(withModules ? { 'node_modules/.package-lock.json': '{"packages": {}}' } : {}),
  });
  chmodSync(join(root, 'bin', 'npm'), 0o755);
  cpSync(join(ROOT, 'tools'), join(root, 'tools'), { recursive: true, filter: (path) => !/\.test\.mjs$|backbone/.test(path) });
  mkdirSync(join(root, 'node_modules'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules', 'typescript'), join(root, 'node_modules', 'typescript'));
  return root;
}

/** Starts set-up. `ended` comes with the exit code and both streams. */
function start(root, args = ['--engine', 'wasm']) {
  const child = spawn(process.execPath, [join(root, 'tools', 'setup.mjs'), ...args], { cwd: root, env: { ...process.env, PATH: `${join(root, 'bin')}${delimiter}${process.env.PATH}` } });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (said[name] += text));
  const ended = new Promise((resolve) => child.on('close', (code) => resolve({ code, ...said })));
  return { child, said, ended };
}

const setUp = (root, args) => start(root, args).ended;
const linesOf = (text) => text.split('\n').filter((line) => line !== '');

/** Every file of a folder with its size and time of change. */
const everyFileOf = (root) =>
  readdirSync(root, { recursive: true })
    .filter((path) => !path.includes('typescript'))
    .sort()
    .map((path) => [path, statSync(join(root, path)).mtimeMs]);

describe('a set-up', () => {
  it('builds what is not built, then has nothing to do, and says so in one line', async () => {
    const root = freshCheckout();
    const first = await setUp(root);
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toMatch(/^build … .* s\nSet-up is complete: the wasm backend, as asked for, Node \d+\.\d+\n$/);
    expect(existsSync(join(root, 'packages/a/dist/index.js'))).toBe(true);

    const before = everyFileOf(join(root, 'packages'));
    const log = readFileSync(join(root, '.setup/log'), 'utf8');
    const second = await setUp(root);
    expect(second.code).toBe(0);
    expect(linesOf(second.stdout)).toEqual([linesOf(first.stdout).at(-1)]);
    expect(everyFileOf(join(root, 'packages'))).toEqual(before);
    expect(readFileSync(join(root, '.setup/log'), 'utf8')).toBe(log);
    expect(readdirSync(join(root, '.setup')).sort()).toEqual(['log', 'state.json']);
  });

  it('reports a build that fails by its last lines and the remedy, and builds again when it is mended', async () => {
    const root = freshCheckout();
    writeTree(root, { 'packages/a/src/index.ts': 'export const answer: number = "42";\n' });
    const failed = await setUp(root);
    expect(failed.code).toBe(1);
    expect(failed.stdout).toMatch(/^build … failed after/);
    expect(failed.stderr).toMatch(/index\.ts\(1,14\): error TS2322: .*\nThe build failed, with 1 error of TypeScript's\.\n.*\.setup\/log.*\n$/);
    expect(readFileSync(join(root, '.setup/log'), 'utf8')).toContain('TS2322');

    writeTree(root, LIBRARY);
    expect(await setUp(root)).toMatchObject({ code: 0, stderr: '' });
  });

  it('removes a compiled addon for wasm', async () => {
    const root = freshCheckout();
    writeTree(root, { 'packages/tfjs-libtorch/build/tfjs_libtorch.node': 'x' });
    expect((await setUp(root)).stdout).toContain('addon … removed');
    expect(existsSync(join(root, 'packages/tfjs-libtorch/build/tfjs_libtorch.node'))).toBe(false);
  });

  it("installs npm's packages only where they are not those of the lock", async () => {
    const root = freshCheckout({ withModules: false });
    expect((await setUp(root)).stdout).toMatch(/^npm packages … .*\nbuild … /);
    expect((await setUp(root)).code).toBe(0);
    expect(linesOf(readFileSync(join(root, 'npm.calls'), 'utf8'))).toEqual(['npm ci --include=dev --no-audit --no-fund']);
  });

  it('reports what npm failed of, and what to do', async () => {
    const root = freshCheckout({ withModules: false });
    writeTree(root, { fails: `${Array.from({ length: 30 }, (_, i) => `npm warn ${i}`).join('\n')}\nnpm error code ENOTFOUND\n` });
    const { code, stdout, stderr } = await setUp(root);
    expect([code, linesOf(stdout).length]).toEqual([1, 1]);
    const lines = linesOf(stderr);
    expect(lines).toHaveLength(15 + 2);
    expect(lines.slice(-3)).toEqual(['npm error code ENOTFOUND', '`npm ci` ended with exit code 1.', expect.stringContaining('npm config get proxy')]);
  });

  it('that is interrupted ends with 130 and its tools with it; the next one goes on', async () => {
    const root = freshCheckout({ withModules: false });
    writeTree(root, { slow: '' });
    const { child, ended } = start(root);
    await expect.poll(() => existsSync(join(root, 'npm.calls')), { timeout: 30_000 }).toBe(true);
    child.kill('SIGINT');
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(130);
    expect(stdout).toMatch(/^npm packages … interrupted after/);
    expect(stderr).toContain('Set-up was interrupted.\nRun it again');
    expect(existsSync(join(root, '.setup/lock'))).toBe(false);
    expect(() => process.kill(Number(readFileSync(join(root, 'npm.pid'), 'utf8')), 0)).toThrow('ESRCH');
    rmSync(join(root, 'slow'));
    expect((await setUp(root)).code).toBe(0);
    expect(linesOf(readFileSync(join(root, 'npm.calls'), 'utf8'))).toHaveLength(2);
  });

  it('waits for another one, and then has nothing left to do', async () => {
    const root = freshCheckout({ withModules: false });
    writeTree(root, { slow: '' });
    const first = start(root);
    await expect.poll(() => existsSync(join(root, 'npm.calls')), { timeout: 30_000 }).toBe(true);
    const second = start(root);
    await expect.poll(() => second.said.stdout, { timeout: 30_000 }).toContain(`Another set-up (process ${first.child.pid}) is at work here`);
    rmSync(join(root, 'slow'));
    expect((await first.ended).code).toBe(0);
    const { code, stdout } = await second.ended;
    expect([code, linesOf(stdout).length]).toEqual([0, 2]);
    expect(linesOf(readFileSync(join(root, 'npm.calls'), 'utf8'))).toHaveLength(1);
  });

  it('only looks with --check, and prints JSON', async () => {
    const root = freshCheckout();
    const before = everyFileOf(root);
    const { code, stdout, stderr } = await setUp(root, ['--check', '--engine', 'wasm']);
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ engine: 'wasm', libtorch: null, addon: 'absent', npmPackages: true, build: false, install: [], node: process.versions.node, npm: '11.0.0', reasons: ['wasm was asked for'] });
    expect(everyFileOf(root)).toEqual(before);
  });

  it.each([
    [['--help'], 0, 'stdout', 'Usage: node tools/setup.mjs'],
    [['--with-refrence'], 2, 'stderr', 'Did you mean --with-reference?'],
    [['--engine', 'cuda'], 2, 'stderr', '--engine takes auto, debian, pip, tensorflow, wasm'],
  ])('called with %j ends with %i', async (args, code, stream, text) => {
    const ended = await setUp(freshCheckout(), args);
    expect(ended.code).toBe(code);
    expect(ended[stream]).toContain(text);
  });
});

const here = JSON.parse(execFileSync(process.execPath, [join(ROOT, 'tools', 'setup.mjs'), '--check', '--with-reference'], { encoding: 'utf8' }));

describe.skipIf(here.libtorch === null || here.install.length > 0)('where a libtorch is there (else left out)', () => {
  it('an addon that fails is told, remembered, and not tried again until its sources change; then there is wasm', async () => {
    const root = freshCheckout();
    writeTree(root, { 'packages/tfjs-libtorch/addon/addon.cc': '#error it is broken\n' });
    const first = await setUp(root, []);
    expect(first.code).toBe(0);
    expect(first.stderr).toMatch(/is left out: addon\.cc does not compile: .*it is broken/);
    expect(first.stdout).toContain('going on with the wasm backend');
    const second = await setUp(root, []);
    expect([second.code, second.stderr, linesOf(second.stdout).length]).toEqual([0, '', 1]);
    expect(second.stdout).toMatch(/the wasm backend \(no libtorch\).*addon\.cc does not compile/);

    writeTree(root, { 'packages/tfjs-libtorch/addon/addon.cc': '#error it is broken otherwise\n' });
    expect((await setUp(root, [])).stderr).toContain('broken otherwise');
  });
});

describe('this checkout', () => {
  it('is ready after a set-up, and the next one does nothing', async () => {
    expect(here.npmPackages, 'npm would install anew under the running tests: run tools/setup.mjs first').toBe(true);
    const args = here.reference ? ['--with-reference'] : [];
    expect(await setUp(ROOT, args)).toMatchObject({ code: 0 });
    const again = await setUp(ROOT, args);
    expect([again.code, again.stderr]).toEqual([0, '']);
    expect(linesOf(again.stdout)).toEqual([expect.stringMatching(/^Set-up is complete: /)]);
    const after = JSON.parse((await setUp(ROOT, ['--check', ...args])).stdout);
    expect(after).toMatchObject({ build: true, npmPackages: true, addon: after.engine === 'libtorch' ? 'current' : 'absent' });
  });
});
