import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { UserError } from '@chameleon/core';
import { z } from 'zod';
import { Problem } from '../problems.js';

/** `classify`: ask; `operate`: change which versions are served. */
export type Right = 'classify' | 'operate';

/** Who asks. */
export interface Caller {
  /** The key's name; without a key, the address. */
  name: string;
  rights: readonly Right[];
}

const keysSchema = z.strictObject({
  keys: z.array(z.strictObject({
    name: z.string().min(1).max(100),
    /** Of the key's text, in hexadecimal. Keys are random, so a fast hash is enough. */
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    rights: z.array(z.enum(['classify', 'operate'])).min(1),
  })).min(1),
});
export type StoredKey = z.infer<typeof keysSchema>['keys'][number];

/** @throws UserError when it can't be read or understood */
export async function readKeys(path: string): Promise<StoredKey[]> {
  try {
    return keysSchema.parse(JSON.parse(await readFile(path, 'utf8'))).keys;
  } catch (error) {
    throw new UserError(`${path} is not a file of API keys: {"keys":[{"name":"…","sha256":"…","rights":["classify"]}]}.`, { cause: error, exitCode: 2 });
  }
}

/** A new key: its text, which is shown once, and what the file of keys keeps of it. */
export function createKey(name: string, rights: Right[]): { text: string; stored: StoredKey } {
  const text = `chm_${randomBytes(32).toString('base64url')}`;
  return { text, stored: { name, sha256: hash(text).toString('hex'), rights } };
}

/** Finds out who asks, from `Authorization: Bearer …` or `X-API-Key`. */
export class Gate {
  readonly #keys: { stored: StoredKey; digest: Buffer }[];

  /** @param anonymousRights what a request may do without a key, where there are no keys at all */
  constructor(keys: readonly StoredKey[], private readonly anonymousRights: readonly Right[]) {
    this.#keys = keys.map((stored) => ({ stored, digest: Buffer.from(stored.sha256, 'hex') }));
  }

  /** Whether there are no keys, so that anybody is let in. */
  get open(): boolean {
    return this.#keys.length === 0;
  }

  /** @throws {Problem} 401 or 403 */
  admit(headers: { authorization?: string | undefined; 'x-api-key'?: string | string[] | undefined }, address: string, right: Right): Caller {
    const caller = this.#caller(headers, address);
    if (caller.rights.includes(right)) return caller;
    throw new Problem('forbidden', this.#keys.length === 0 ? `Without API keys nobody may ${right}. Start the server with a file of keys.` : `The key ${caller.name} has no right to ${right}.`);
  }

  #caller(headers: Parameters<Gate['admit']>[0], address: string): Caller {
    if (this.#keys.length === 0) return { name: address, rights: this.anonymousRights };
    const text = /^Bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? (typeof headers['x-api-key'] === 'string' ? headers['x-api-key'] : undefined);
    if (text === undefined) throw new Problem('unauthenticated', 'Send an API key: `Authorization: Bearer …` or `X-API-Key: …`.');
    const given = hash(text);
    let found: StoredKey | null = null;
    // Every key is compared, so that the time says nothing of which one it was.
    for (const { stored, digest } of this.#keys) if (timingSafeEqual(digest, given)) found = stored;
    if (!found) throw new Problem('unauthenticated', 'The API key is not known.');
    return found;
  }
}

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
