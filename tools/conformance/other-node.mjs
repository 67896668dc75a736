#!/usr/bin/env node
// Runs the backend's tests, its suite and TF.js's cases by another Node than this one, which npm's package brings into .setup. Part of
// `npm run test:full`; by itself: `node tools/conformance/other-node.mjs 24`.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { testBackend } from './test-backend.mjs';

const [major = '24'] = process.argv.slice(2);
const place = join(fileURLToPath(new URL('../..', import.meta.url)), '.setup', `node-${major}`), node = join(place, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
if (!existsSync(node)) execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', place, `node-linux-${process.arch}@${major}`], { stdio: 'inherit' });
console.log(`Node ${execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()}`);
await testBackend({ node });
