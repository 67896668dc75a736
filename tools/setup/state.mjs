import { readText, writeWhole } from './files.mjs';

/**
 * What set-up remembers between runs, in .setup/state.json. Losing it costs time, nothing else.
 * @typedef {{
 *   version: 1,
 *   build: string | null,
 *   addon: { key: string, stamp: string, libtorch: string } | null,
 *   jpeg: { key: string, stamp: string | null } | null,
 *   failed: Record<string, { reason: string, key: string }>,
 *   unavailable: string[],
 *   aptFailure: { packages: string[], at: number } | null,
 * }} State
 *   `build`: digest of the sources of the last successful build; `addon`: the key and the file stamp of the one that stands in its
 *   place; `jpeg`: the same of the JPEG decoder, its stamp null where it couldn't be compiled; `failed`: by a libtorch's name, why an addon for it wasn't to be had, and the key of the inputs that failed;
 *   `unavailable`: packages that apt doesn't know here; `aptFailure`: what apt couldn't install, and when (ms)
 */

/** @returns {State} */
export function emptyState() {
  return { version: 1, build: null, addon: null, jpeg: null, failed: {}, unavailable: [], aptFailure: null };
}

/** The state on disk; an empty one where there is none, or none of this version that can be read. */
export function readState(path) {
  try {
    const state = JSON.parse(readText(path) ?? '');
    return state.version === 1 ? { ...emptyState(), ...state } : emptyState();
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return emptyState();
    throw error;
  }
}

/** @param {State} state */
export function writeState(path, state) {
  writeWhole(path, `${JSON.stringify(state, null, 2)}\n`);
}
