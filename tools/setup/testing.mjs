import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A folder that is gone when the test has ended. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'chameleon-setup-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes files, by their paths in a folder, with the folders that they need. */
export function writeTree(folder, files) {
  for (const [path, text] of Object.entries(files)) {
    const place = join(folder, path);
    mkdirSync(dirname(place), { recursive: true });
    writeFileSync(place, text);
  }
}

/** A report and warnings that are kept, with a clock that stands still. */
export function keptReport() {
  const kept = { printed: '', warned: [] };
  return { kept, write: (text) => (kept.printed += text), warn: (lines) => kept.warned.push(...lines) };
}
