import { execFile, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const PYTHON = process.env['CHAMELEON_PYTHON'] ?? '/usr/bin/python3';
const SCRIPTS = join(dirname(fileURLToPath(import.meta.url)), '../../../../../tools/reference');

/** Whether the reference is installed: Debian's python3-torch and python3-torchvision, or those of the Python that CHAMELEON_PYTHON names. */
export const hasReference = spawnSync(PYTHON, ['-c', 'import torch, torchvision'], { stdio: 'ignore' }).status === 0;

/** What the name of a test that is skipped says. */
export const missingReference = hasReference ? '' : ` (skipped: ${PYTHON} has no torch and torchvision)`;

/** The folder of real photographs and weights, or null. */
export const testData: string | null = process.env['CHAMELEON_TEST_DATA'] ?? null;

export const missingData = testData === null ? ' (skipped: CHAMELEON_TEST_DATA names no folder of photographs and weights)' : '';

/** Runs a script of `tools/reference`. @returns what it printed */
export async function runReference(script: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(PYTHON, [join(SCRIPTS, script), ...args], { encoding: 'utf8', maxBuffer: 1 << 28, env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  return stdout;
}
