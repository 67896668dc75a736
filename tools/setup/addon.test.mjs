import { copyFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { buildAddon, planAddon, removeAddon } from './addon.mjs';
import { SetupError } from './errors.mjs';
import { stampOf } from './files.mjs';
import { findCompiler } from './machine.mjs';
import { createLog, createRunner } from './run.mjs';
import { temporaryFolder, writeTree } from './testing.mjs';

const compiler = findCompiler(process.env);
const headers = fileURLToPath(new URL('../../node_modules/node-api-headers/include', import.meta.url));

const SOURCES = {
  'answer.h': 'inline int offset() { return 40; }\nint answer();\n',
  'answer.cc': '#include "answer.h"\nint answer() { return offset() + 2; }\n',
  'addon.cc': `#include <node_api.h>
#include "answer.h"
NAPI_MODULE_INIT() {
  napi_value value;
  napi_create_int32(env, answer(), &value);
  napi_set_named_property(env, exports, "answer", value);
  return exports;
}
`,
};

/** A real addon of two sources in a fresh folder, and a way to plan and build it. */
function tinyAddon() {
  const folder = temporaryFolder();
  writeTree(join(folder, 'addon'), SOURCES);
  const addon = join(folder, 'build', 'tfjs_libtorch.node');
  const commands = {
    compile: (source, object) => [compiler, '-fPIC', '-isystem', headers, '-c', source, '-o', object],
    link: (objects, file) => [compiler, '-shared', ...objects, '-o', file],
  };
  const run = createRunner({ cwd: folder, env: process.env, log: createLog(join(folder, 'log')), signal: new AbortController().signal });
  const plan = (stamps = ['libtorch 1']) => planAddon({ sources: join(folder, 'addon'), addon, commands, stamps });
  const save = (name, text) => writeFileSync(join(folder, 'addon', name), text);
  let copies = 0;
  /** Node keeps a native module by its path, so each look is at a copy. */
  const answer = () => {
    const copy = join(folder, `copy${copies++}.node`);
    copyFileSync(addon, copy);
    return createRequire(import.meta.url)(copy).answer;
  };
  return { addon, plan, save, answer, build: (options = {}) => buildAddon(plan(), { run, jobs: 2, ...options }), listing: () => readdirSync(join(folder, 'build')).sort() };
}

describe.skipIf(!compiler)('the addon (where there is a C++ compiler)', () => {
  it('is compiled source by source, and only what changed is compiled again', async () => {
    const tiny = tinyAddon();
    expect(await tiny.build()).toEqual({ compiled: 2 });
    expect(tiny.answer()).toBe(42);
    expect(await tiny.build()).toEqual({ compiled: 0 });

    tiny.save('answer.cc', SOURCES['answer.cc'].replace('2', '3'));
    expect(await tiny.build()).toEqual({ compiled: 1 });
    expect(tiny.answer()).toBe(43);

    tiny.save('answer.h', SOURCES['answer.h'].replace('40', '50'));
    expect(await tiny.build()).toEqual({ compiled: 2 });
    expect(tiny.answer()).toBe(53);
    expect(await tiny.build({ force: true })).toEqual({ compiled: 2 });
    expect(tiny.listing()).toEqual(['objects', 'tfjs_libtorch.node']);
  });

  it('stays as it was when a source no longer compiles, and the message quotes the compiler', async () => {
    const tiny = tinyAddon();
    await tiny.build();
    const stamp = stampOf(tiny.addon);
    tiny.save('answer.cc', 'int answer() { return nonsense; }\n');
    const error = await tiny.build().catch((e) => e);
    expect(error).toBeInstanceOf(SetupError);
    expect(error.message).toMatch(/^answer\.cc does not compile: .*error: .*nonsense/);
    expect(error.tail.join('\n')).toContain('nonsense');
    expect(stampOf(tiny.addon)).toBe(stamp);
    expect(tiny.answer()).toBe(42);
  });

  it('stays as it was when Node could not load the new one', async () => {
    const tiny = tinyAddon();
    await tiny.build();
    tiny.save('answer.cc', 'int missing();\nint answer() { return missing(); }\n');
    await expect(tiny.build()).rejects.toThrow(/the addon does not load: .*(undefined symbol|missing)/s);
    expect(tiny.answer()).toBe(42);
    expect(tiny.listing()).toEqual(['objects', 'tfjs_libtorch.node']);
  });

  it('has another key with other sources, headers, and whatever else is stamped', () => {
    const tiny = tinyAddon();
    const first = tiny.plan().key;
    expect(tiny.plan().key).toBe(first);
    expect(tiny.plan(['libtorch 2']).key).not.toBe(first);
    tiny.save('answer.h', `${SOURCES['answer.h']}// changed\n`);
    expect(tiny.plan().key).not.toBe(first);
  });

  it('is removed with what an interrupted run left; the objects stay', async () => {
    const tiny = tinyAddon();
    await tiny.build();
    copyFileSync(tiny.addon, tiny.addon.replace('.node', '.4711.node'));
    expect(removeAddon(tiny.addon)).toBe(true);
    expect(tiny.listing()).toEqual(['objects']);
    expect(removeAddon(tiny.addon)).toBe(false);
  });
});
