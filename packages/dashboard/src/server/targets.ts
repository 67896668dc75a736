import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { DashboardError } from './errors.js';

/** A process whose metrics are scraped. */
export interface Target {
  url: string;
  /** At least `job` and `instance`. */
  labels: Readonly<Record<string, string>>;
}

/** `host:port`, or an address; without a path it is /metrics that is asked. @throws DashboardError when it is neither */
export function parseTarget(given: string, labels: Readonly<Record<string, string>> = {}): Target {
  const text = /^https?:\/\//.test(given) ? given : `http://${given}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || url.hostname === '') throw new DashboardError(`${given} is no address of metrics. Write it as http://127.0.0.1:9464/metrics, or as 127.0.0.1:9464.`, { exitCode: 2 });
  if (url.pathname === '/') url.pathname = '/metrics';
  return { url: url.href, labels: { job: 'chameleon', instance: url.host, ...labels } };
}

const fileSchema = z.array(z.strictObject({ targets: z.array(z.string().min(1)).min(1), labels: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string()).optional() }));

/**
 * The targets in a file of the form of Prometheus's file discovery: `- targets: ['127.0.0.1:9464']` with `labels:` beside it, in YAML or JSON.
 * @throws DashboardError when it can't be read or understood
 */
export async function readTargets(path: string): Promise<Target[]> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new DashboardError(`The targets in ${path} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { exitCode: 2, cause: error });
  });
  try {
    return fileSchema.parse(parse(text) ?? []).flatMap(({ targets, labels }) => targets.map((target) => parseTarget(target, labels)));
  } catch (error) {
    throw new DashboardError(`${path} is no list of targets: ${error instanceof z.ZodError ? error.issues.map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`).join('; ') : String((error as Error).message)}. It should look like: [{ targets: ['127.0.0.1:9464'], labels: { job: chameleon-train } }].`, { exitCode: 2, cause: error });
  }
}
