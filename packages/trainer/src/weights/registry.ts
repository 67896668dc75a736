import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError, nearest } from '@chameleon/core';

/** Weights that have a name: torchvision's, or the backbone that the project carries. */
export interface KnownWeights {
  name: string;
  architecture: string;
  /** torchvision's file; the digits in its name begin its SHA-256, as torch.hub checks them. null: embedded. */
  file: string | null;
}

export const KNOWN_WEIGHTS: readonly KnownWeights[] = [
  { name: 'embedded', architecture: 'resnet16w32', file: null },
  { name: 'resnet18', architecture: 'resnet18', file: 'resnet18-f37072fd.pth' },
  { name: 'resnet34', architecture: 'resnet34', file: 'resnet34-b627a593.pth' },
  { name: 'resnet50', architecture: 'resnet50', file: 'resnet50-0676ba61.pth' },
  { name: 'resnet50-v2', architecture: 'resnet50', file: 'resnet50-11ad3fa6.pth' },
  { name: 'resnet101', architecture: 'resnet101', file: 'resnet101-63fe2227.pth' },
  { name: 'resnet101-v2', architecture: 'resnet101', file: 'resnet101-cd907fc2.pth' },
  { name: 'resnet152', architecture: 'resnet152', file: 'resnet152-394f9c45.pth' },
  { name: 'resnet152-v2', architecture: 'resnet152', file: 'resnet152-f82ba261.pth' },
];

export const EMBEDDED_PATH = fileURLToPath(new URL('../../weights/resnet16w32.safetensors', import.meta.url));

/** Where pulled weights lie: $CHAMELEON_CACHE, else the user's cache folder. */
export function weightsFolder(environment: NodeJS.ProcessEnv = process.env): string {
  return environment['CHAMELEON_CACHE'] ?? join(environment['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'chameleon');
}

export function findKnownWeights(name: string): KnownWeights {
  const found = KNOWN_WEIGHTS.find((known) => known.name === name);
  if (found) return found;
  const names = KNOWN_WEIGHTS.map((known) => known.name);
  const near = nearest(name, names);
  throw new UserError(`There are no weights called ${name}, and no file of that name. ${near ? `Did you mean ${near}? ` : ''}\`chameleon weights list\` shows those that have a name.`, { exitCode: 2 });
}

export const pathOfWeights = ({ file }: KnownWeights, folder: string): string => (file === null ? EMBEDDED_PATH : join(folder, file));

export interface WeightsRow {
  name: string;
  architecture: string;
  state: 'embedded' | 'at hand' | 'to be pulled';
  bytes?: number;
}

/** All weights that have a name, and whether they are here. */
export function listWeights(folder = weightsFolder()): Promise<WeightsRow[]> {
  return Promise.all(
    KNOWN_WEIGHTS.map(async (known): Promise<WeightsRow> => {
      const there = await stat(pathOfWeights(known, folder)).catch(() => null);
      const { name, architecture } = known;
      return there ? { name, architecture, state: known.file === null ? 'embedded' : 'at hand', bytes: there.size } : { name, architecture, state: 'to be pulled' };
    }),
  );
}
