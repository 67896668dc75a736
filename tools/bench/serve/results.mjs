import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes results down as JSON, in a folder that need not be there. */
export async function keepResults(path, results) {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, textOf(results));
}

/** What `--to FILE` and `--json` ask for; without `--json` the results are shown as `describe` has them. */
export async function publish(results, { to, json }, describe) {
  if (to) await keepResults(to, results);
  process.stdout.write(json ? textOf(results) : describe(results));
}

const textOf = (results) => `${JSON.stringify(results, null, 1)}\n`;
