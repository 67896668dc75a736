import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '@chameleon/core';
import { type Manifest, manifestSchema, verifyManifest } from '@chameleon/data';
import type { Metadata } from '@grpc/grpc-js';
import { readIfThere, sha256 } from '../files.js';
import type { WorkerServiceClient } from '../generated/chameleon/trainer/v1/trainer.js';
import { FILES } from '../run-directory.js';

/** How long the coordinator may take to send the manifest. */
const MANIFEST_MS = 120_000;

/** The run's manifest as the coordinator sends it. @throws when it isn't the one that was announced */
export async function fetchManifest(client: WorkerServiceClient, metadata: Metadata, runId: string, expectedSha256: string): Promise<Manifest> {
  const parts: Uint8Array[] = [];
  for await (const { part } of client.getManifest({ runId }, metadata, { deadline: Date.now() + MANIFEST_MS }) as AsyncIterable<{ part: Uint8Array }>) parts.push(part);
  const bytes = Buffer.concat(parts);
  if (sha256(bytes) !== expectedSha256) throw new Error('the manifest that came is not the one that the coordinator announced');
  return manifestSchema.parse(JSON.parse(bytes.toString()));
}

/** @throws UserError that names files which this machine lacks or has otherwise */
export async function requireData(root: string, manifest: Manifest, signal: AbortSignal): Promise<void> {
  const { missing, changed } = await verifyManifest(root, manifest, signal);
  if (missing.length + changed.length === 0) return;
  const listed = (what: string, names: string[]) => (names.length === 0 ? [] : [`${names.length} of ${manifest.files.length} files ${what}, among them ${names.slice(0, 3).join(', ')}`]);
  throw new UserError(`The pictures in ${root} are not those of this run: ${[...listed('are missing', missing), ...listed('are others', changed)].join('; ')}. Copy the data set here from the coordinator's machine, or say where it lies with --data.`);
}

/** Whether the run directory of the coordinator lies here too and can be written: on one machine, or on a shared file system. */
export async function seesRunDirectory(path: string, manifestSha256: string): Promise<boolean> {
  const manifest = await readIfThere(join(path, FILES.manifest)).catch(() => null);
  if (!manifest || sha256(manifest) !== manifestSha256) return false;
  return access(path, constants.W_OK).then(() => true, () => false);
}
