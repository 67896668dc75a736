import { z } from 'zod';
import type { Picture } from '../runs/mistakes.js';
import { Refusal, messageOf } from './errors.js';
import { select, aggregate, is } from '../metrics/expression.js';
import { readLimited } from './read-limited.js';
import type { MetricsSource } from './source.js';

const TIMEOUT_MS = 20_000;
const MAX_BYTES = 16 * 2 ** 20;
const explanationSchema = z.object({ predictions: z.array(z.object({ heatmap: z.object({ png_base64: z.string() }) })).min(1) });

/** The address of a server that is watched and serves the model that a run left; null where there is none. A model has its run's name. */
export async function findServer(run: string, source: MetricsSource): Promise<string | null> {
  const now = Date.now();
  const rows = await source.range(aggregate('max', ['instance'], select('chameleon_model_info', is('model', run))), { startMs: now, endMs: now, stepMs: 1000 });
  const instances = new Set(rows.map(({ labels }) => labels['instance']));
  const target = (await source.targets()).find(({ instance, health }) => health === 'up' && instances.has(instance));
  return target ? new URL(target.url).origin : null;
}

/** Where the model looked for what it told: a PNG from the server's own explanation. @throws Refusal (502) with the server's reason */
export async function askForHeatMap(server: string, { run, label, picture }: { run: string; label: string; picture: Picture }): Promise<Buffer> {
  const address = new URL('/v1/explain', server);
  address.searchParams.set('model', run);
  address.searchParams.set('label', label);
  try {
    const answer = await fetch(address, { method: 'POST', body: Uint8Array.from(picture.bytes), headers: { 'content-type': picture.type }, signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
    const text = await readLimited(answer, MAX_BYTES);
    if (!answer.ok) throw new Error(`it answers with ${answer.status}`);
    return Buffer.from(explanationSchema.parse(JSON.parse(text)).predictions[0]!.heatmap.png_base64, 'base64');
  } catch (error) {
    throw new Refusal(502, `The server at ${server} gave no heat map: ${messageOf(error)}.`, { cause: error });
  }
}
