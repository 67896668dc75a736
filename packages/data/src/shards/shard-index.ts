import { UserError } from '@chameleon/core/errors';
import { z } from 'zod';

/** `shards.json`: which picture lies in which shard, from which byte on, and the digests of both. */
export const INDEX_NAME = 'shards.json';
const FORMAT_VERSION = 1;

const count = z.number().int().nonnegative();
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const shardIndexSchema = z.object({
  formatVersion: z.literal(FORMAT_VERSION),
  /** Sorted, as the folders' names were. */
  classes: z.array(z.string()),
  shards: z.array(z.object({
    /** Beside the index. */
    file: z.string().regex(/^shard-\d{6,}\.tar$/),
    bytes: count,
    sha256: digest,
    /** `name` is the picture's path in the folder that was packed, `offset` that of its first byte in the shard. */
    entries: z.array(z.object({ name: z.string(), offset: count, bytes: count, sha256: digest })),
  })),
});
export type ShardIndex = z.infer<typeof shardIndexSchema>;
export type ShardEntry = ShardIndex['shards'][number]['entries'][number];

export const shardName = (number: number): string => `shard-${String(number).padStart(6, '0')}.tar`;

/** @throws {UserError} when the text is no index, one of another version, or one that leads out of its folder or its shards */
export function parseShardIndex(text: string, path: string): ShardIndex {
  const refuse = (why: string, cause?: unknown) => new UserError(`${path} ${why}. Copy the folder of shards anew, or make it again with \`chameleon dataset prepare shards\`.`, { cause });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw refuse('is not whole: it is no JSON', error);
  }
  const version = (json as { formatVersion?: unknown } | null)?.formatVersion;
  if (version !== FORMAT_VERSION) throw new UserError(`${path} has format version ${JSON.stringify(version) ?? 'none'}; this Chameleon reads ${FORMAT_VERSION}. Make the shards again with \`chameleon dataset prepare shards\`, or use the Chameleon that made them.`);
  const { data, error } = shardIndexSchema.safeParse(json);
  if (!data) throw refuse(`is no index of shards (${error.issues[0]!.path.join('.')}: ${error.issues[0]!.message})`, error);
  const names = new Set<string>(), files = new Set<string>(), classes = new Set(data.classes);
  for (const { file, bytes, entries } of data.shards) {
    if (files.has(file)) throw refuse(`names ${file} twice`);
    files.add(file);
    for (const { name, offset, bytes: length } of entries) {
      const steps = name.split('/');
      if (name.includes('\0') || steps.some((step) => step === '' || step === '.' || step === '..')) throw refuse(`names ${JSON.stringify(name)}, which leads out of its folder`);
      if (names.has(name)) throw refuse(`names ${name} twice`);
      names.add(name);
      if (!steps.slice(0, -1).some((step) => classes.has(step))) throw refuse(`names ${name}, which is of none of its classes`);
      if (offset + length > bytes) throw refuse(`puts ${name} past the end of ${file}`);
    }
  }
  return data;
}
