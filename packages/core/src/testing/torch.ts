import { execFileSync } from 'node:child_process';

const PYTHON = '/usr/bin/python3';

function importable(): boolean {
  try {
    execFileSync(PYTHON, ['-c', 'import torch'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Whether Debian's python3-torch, the reference, is installed: `npm test` installs it where it may. */
export const hasTorch = importable();

/** Runs a script that reads JSON from `given` and leaves its answer in `answer`. */
export function torch<T>(script: string, given: unknown): T {
  const program = `import json, sys, torch\ngiven = json.load(sys.stdin)\n${script}\njson.dump(answer, sys.stdout)\n`;
  return JSON.parse(execFileSync(PYTHON, ['-c', program], { input: JSON.stringify(given), encoding: 'utf8', maxBuffer: 1 << 26 })) as T;
}
