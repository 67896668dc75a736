#!/usr/bin/env node
// Builds the addon with the address sanitizer beside the ordinary one, and runs the backend's tests, its suite and TF.js's cases on it.
// Part of `npm run test:full`; by itself: `node tools/conformance/sanitizer.mjs`.
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAddon, planAddon } from '../setup/addon.mjs';
import { layoutOf } from '../setup/checkout.mjs';
import { compileCommand, linkCommand } from '../setup/compile.mjs';
import { libtorchName } from '../setup/engine.mjs';
import { lookAround } from '../setup/machine.mjs';
import { createLog, createRunner } from '../setup/run.mjs';
import { readState } from '../setup/state.mjs';
import { readToolchain } from '../setup/toolchain.mjs';
import { testBackend } from './test-backend.mjs';

const FLAGS = ['-fsanitize=address', '-fno-omit-frame-pointer', '-O1', '-g'];

const layout = layoutOf(fileURLToPath(new URL('../..', import.meta.url))), machine = lookAround(process.env, layout);
const named = readState(layout.state).addon?.libtorch;
const libtorch = machine.probes.map((probe) => probe.libtorch).find((found) => found && libtorchName(found) === named);
if (!libtorch || !machine.compiler) throw new Error('there is no addon of set-up to be built anew. Run `node tools/setup.mjs`.');

// Node itself is not built with it, so it is brought along. Leaks of Node's own at its end are none of ours; and memory that can't be had is
// one of the tests.
const runtime = execFileSync(machine.compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
const sanitized = { LD_PRELOAD: runtime, ASAN_OPTIONS: 'detect_leaks=0:allocator_may_return_null=1' };

const toolchain = readToolchain(libtorch, machine.compiler, layout.modules), addon = join(layout.setup, 'sanitizer', 'tfjs_libtorch.node');
const plan = planAddon({
  sources: layout.addonSources, addon, stamps: [libtorch.version],
  commands: { compile: (source, object) => [...compileCommand(toolchain, source, object), ...FLAGS], link: (objects, file) => [...linkCommand(toolchain, objects, file), ...FLAGS] },
});
const run = createRunner({ cwd: layout.root, env: process.env, log: createLog(join(layout.setup, 'sanitizer', 'log')), signal: new AbortController().signal });
await buildAddon(plan, { jobs: availableParallelism(), run: (command, options) => run(command, command[0] === process.execPath ? { ...options, env: sanitized } : options) });
await testBackend({ env: { ...process.env, ...sanitized, CHAMELEON_ADDON: addon } });
