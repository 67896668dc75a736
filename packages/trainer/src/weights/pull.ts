import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { copyFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UserError } from '@chameleon/core';
import { EnvHttpProxyAgent, fetch } from 'undici';
import { explainDisk } from '../files.js';
import { findKnownWeights, pathOfWeights, weightsFolder } from './registry.js';

const PUBLIC_ADDRESS = 'https://download.pytorch.org/models/';
const ATTEMPTS = 4;
const STALL_MS = 30_000;

export interface PullOptions {
  folder?: string;
  /** A file to take them from, where there is no network. */
  from?: string;
  /** By default $CHAMELEON_WEIGHTS_URL, else PyTorch's public address. */
  baseUrl?: string;
  signal?: AbortSignal;
  /** Bytes. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Fetches torchvision's weights by name: what was cut off goes on where it stopped, proxies of the environment are
 * used, and the digest in the file's name is checked before the file is in its place. Gives its path.
 */
export async function pullWeights(name: string, { folder = weightsFolder(), from, baseUrl = process.env['CHAMELEON_WEIGHTS_URL'] ?? PUBLIC_ADDRESS, signal, onProgress }: PullOptions = {}): Promise<string> {
  const known = findKnownWeights(name);
  const path = pathOfWeights(known, folder);
  if (known.file === null || (await stat(path).catch(() => null))) return path;
  const partial = `${path}.part`;
  await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => Promise.reject(explainDisk(error, path) as Error));
  if (from !== undefined) await copyFile(from, partial).catch((error: unknown) => Promise.reject(new UserError(`${from} can't be taken (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { cause: error })));
  else await download(new URL(known.file, baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`), partial, name, { ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}) });
  await requireDigest(partial, known.file);
  await rename(partial, path);
  return path;
}

async function download(url: URL, partial: string, name: string, options: Pick<PullOptions, 'signal' | 'onProgress'>): Promise<void> {
  const agent = new EnvHttpProxyAgent({ bodyTimeout: STALL_MS, headersTimeout: STALL_MS });
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        return await downloadRest(url, partial, agent, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        if (error instanceof UserError) throw error;
        if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw explainDisk(error, partial) as Error;
        if (attempt === ATTEMPTS) throw new UserError(`${url.href} could not be fetched: ${reasonOf(error)}. What has come is kept; try again, or fetch the file elsewhere and pass it: chameleon weights pull ${name} --from FILE`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt));
      }
    }
  } finally {
    await agent.close();
  }
}

/** Asks for what is missing of the file; a server that sends the whole all the same starts it anew. */
async function downloadRest(url: URL, partial: string, dispatcher: EnvHttpProxyAgent, { signal, onProgress }: Pick<PullOptions, 'signal' | 'onProgress'>): Promise<void> {
  const have = (await stat(partial).catch(() => null))?.size ?? 0;
  const response = await fetch(url, { dispatcher, headers: have > 0 ? { range: `bytes=${have}-` } : {}, ...(signal ? { signal } : {}) });
  if (response.status === 416) return;
  if (!response.ok || !response.body) throw response.status < 500 ? new UserError(`${url.href} answers ${response.status}: there is no such file. If the address is a mirror's, check CHAMELEON_WEIGHTS_URL.`) : new Error(`the server answers ${response.status}`);
  const resumed = response.status === 206;
  let done = resumed ? have : 0;
  const total = done + Number(response.headers.get('content-length') ?? 0);
  const counted = Readable.fromWeb(response.body).on('data', (chunk: Uint8Array) => onProgress?.((done += chunk.length), Math.max(total, done)));
  await pipeline(counted, createWriteStream(partial, { flags: resumed ? 'a' : 'w' }), ...(signal ? [{ signal }] : []));
}

async function requireDigest(partial: string, file: string): Promise<void> {
  const wanted = /-([0-9a-f]{8})\./.exec(file)![1]!;
  const hash = createHash('sha256');
  await pipeline(createReadStream(partial), hash);
  const found = hash.digest('hex');
  if (found.startsWith(wanted)) return;
  await rm(partial, { force: true });
  throw new UserError(`${file} is not what it should be: its SHA-256 begins with ${found.slice(0, 8)} instead of ${wanted}. It was removed; fetch it again.`);
}

function reasonOf(error: unknown): string {
  const cause = (error as { cause?: unknown }).cause ?? error;
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
}
