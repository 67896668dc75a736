import { findBackendFactory, setBackend } from '@tensorflow/tfjs-core';
import { UserError, messageOf } from './errors.js';

/** Best first: `auto` takes the first that loads. */
export const BACKENDS = ['libtorch', 'tensorflow', 'wasm', 'cpu'] as const;
export type BackendName = (typeof BACKENDS)[number];

export interface BackendCandidate {
  name: BackendName;
  /** Loads and registers the backend; throws what is missing. */
  load: () => Promise<void>;
  /** What mends it when it doesn't load: a command, or a sentence. */
  remedy: string;
}

export interface BackendFinding {
  name: BackendName;
  available: boolean;
  /** Why not, in the words of whoever refused. */
  reason: string | null;
  remedy: string;
}

/** Tries each candidate; for `doctor`. */
export async function examineBackends(candidates: readonly BackendCandidate[]): Promise<BackendFinding[]> {
  const findings: BackendFinding[] = [];
  for (const candidate of candidates) {
    const reason = await refusal(candidate);
    findings.push({ name: candidate.name, available: reason === null, reason, remedy: candidate.remedy });
  }
  return findings;
}

/**
 * Makes a backend TF.js's current one: the one that was asked for, or with `auto` the first that loads.
 * @returns its name, and why better ones were passed over
 * @throws UserError when the one asked for, or none at all, can be had
 */
export async function chooseBackend(wanted: BackendName | 'auto', candidates: readonly BackendCandidate[]): Promise<{ name: BackendName; passedOver: BackendFinding[] }> {
  const passedOver: BackendFinding[] = [];
  for (const candidate of candidates) {
    if (wanted !== 'auto' && candidate.name !== wanted) continue;
    const reason = await refusal(candidate);
    if (reason === null && (await setBackend(candidate.name))) return { name: candidate.name, passedOver };
    passedOver.push({ name: candidate.name, available: false, reason: reason ?? 'it loaded, but did not start', remedy: candidate.remedy });
  }
  const told = passedOver.map(({ name, reason, remedy }) => `${name}: ${reason}. ${remedy}`);
  throw new UserError(`${wanted === 'auto' ? 'No backend can' : `The backend ${wanted} cannot`} be used here. ${told.join(' ')} \`chameleon doctor\` says more.`);
}

async function refusal({ name, load }: BackendCandidate): Promise<string | null> {
  try {
    await load();
    // Not `findBackend`: that of a backend which starts asynchronously, as wasm does, is null until it is ready.
    return findBackendFactory(name) == null ? 'it loaded, but registered nothing' : null;
  } catch (error) {
    return messageOf(error).split('\n')[0]!.trim();
  }
}
