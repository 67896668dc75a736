import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { bundlePlace, bundleProgram } from './bundle.mjs';

const DEADLINE_MS = 10 * 60_000;

/**
 * Runs a program of the backend's tests on backends, one process each, and gives what it wrote for each of them.
 * @param {'published' | 'conformance'} program
 * @param {string[]} backends
 * @param {{ node?: string, env?: Record<string, string | undefined> }} [options] another Node, another environment
 */
export async function runProgram(program, backends, { node = process.execPath, env = process.env } = {}) {
  const bundle = bundlePlace(`${program}.${process.pid}.mjs`), made = [bundle];
  try {
    await bundleProgram(program, bundle);
    const results = [];
    for (const backend of backends) {
      const file = bundlePlace(`${program}.${process.pid}.${backend}.json`);
      made.push(file);
      await promisify(execFile)(node, [bundle, backend, file], { env, timeout: DEADLINE_MS, maxBuffer: 64 << 20 });
      results.push(JSON.parse(readFileSync(file, 'utf8')));
    }
    return results;
  } finally {
    for (const file of made) rmSync(file, { force: true });
  }
}
