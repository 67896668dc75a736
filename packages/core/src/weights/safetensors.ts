import { z } from 'zod';
import { UserError } from '../errors.js';
import { BYTES_OF, type ElementType, type HostTensor, elementCount } from './host-tensor.js';

/**
 * The safetensors format: 8 bytes with the header's length, the header in JSON, the tensors' bytes one after another.
 * Nothing in it can be executed; what is checked here is that the header tells the truth about the file.
 */
export interface SafetensorsFile {
  tensors: Map<string, HostTensor>;
  metadata: Record<string, string>;
}

/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;

const entrySchema = z.object({
  dtype: z.enum(Object.keys(BYTES_OF) as [ElementType, ...ElementType[]]),
  shape: z.array(z.number().int().nonnegative()),
  data_offsets: z.tuple([z.number().int().nonnegative(), z.number().int().nonnegative()]),
});
/** No zod records: those would lose a key called `__proto__`. */
const headerSchema = z.custom<Record<string, unknown>>((value) => typeof value === 'object' && value !== null && !Array.isArray(value));
const metadataSchema = headerSchema.refine((value): value is Record<string, string> => Object.values(value).every((text) => typeof text === 'string'));

/**
 * Reads a file's tensors; they share `bytes`.
 * @param name what messages call the file
 * @throws UserError when the header is damaged or doesn't fit the file
 */
export function readSafetensors(bytes: Uint8Array, name = 'The file'): SafetensorsFile {
  const fail = (problem: string, cause?: unknown): never => {
    throw new UserError(`${name} is not a whole safetensors file: ${problem}. Fetch or save it again.`, { cause });
  };
  if (bytes.length < 8) fail(`it has ${bytes.length} bytes, less than the length of a header`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || 8 + length > bytes.length) fail(`its header claims ${length} bytes, the file has ${bytes.length}`);
  const header = parseHeader(bytes.subarray(8, 8 + length), fail);
  const data = bytes.subarray(8 + length);
  const tensors = new Map<string, HostTensor>();
  const ranges: [start: number, end: number][] = [];
  const { __metadata__: given = {}, ...entries } = header;
  const metadata = metadataSchema.safeParse(given).data ?? fail('its metadata is not a map of texts');
  for (const [key, value] of Object.entries(entries)) {
    const entry = entrySchema.safeParse(value).data ?? fail(`the entry of ${key} is malformed`);
    const [start, end] = entry.data_offsets;
    const expected = elementCount(entry.shape) * BYTES_OF[entry.dtype];
    if (end - start !== expected) fail(`${key} takes ${end - start} bytes, but its shape [${entry.shape.join(', ')}] needs ${expected}`);
    if (end > data.length) fail(`${key} ends ${end - data.length} bytes after the file's end`);
    ranges.push([start, end]);
    tensors.set(key, { dtype: entry.dtype, shape: entry.shape, bytes: data.subarray(start, end) });
  }
  requireTiling(ranges, data.length, fail);
  return { tensors, metadata };
}

/** The format wants every byte to belong to one tensor: no gap, no overlap, nothing after the last. */
function requireTiling(ranges: [start: number, end: number][], byteCount: number, fail: (problem: string) => never): void {
  let position = 0;
  for (const [start, end] of ranges.sort(([a, aEnd], [b, bEnd]) => a - b || aEnd - bEnd)) {
    if (start !== position) fail(start < position ? `two tensors overlap at byte ${start}` : `bytes ${position} to ${start} belong to no tensor`);
    position = end;
  }
  if (position !== byteCount) fail(`its last ${byteCount - position} bytes belong to no tensor`);
}

function parseHeader(bytes: Uint8Array, fail: (problem: string, cause?: unknown) => never): Record<string, unknown> {
  try {
    return headerSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (error) {
    return fail('its header is not JSON', error);
  }
}

/** The bytes of a file with these tensors, in their order; each starts at a multiple of 8 bytes where sizes allow. */
export function writeSafetensors(tensors: Iterable<readonly [string, HostTensor]>, metadata: Record<string, string> = {}): Uint8Array {
  const entries = [...tensors];
  let offset = 0;
  const header = entries.map(([name, { dtype, shape, bytes }]) => [name, { dtype, shape, data_offsets: [offset, (offset += bytes.length)] }] as const);
  const prefix = Object.keys(metadata).length > 0 ? [['__metadata__', metadata] as const] : [];
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries([...prefix, ...header])));
  const headerBytes = Math.ceil(text.length / 8) * 8;
  const file = new Uint8Array(8 + headerBytes + offset).fill(0x20, 8, 8 + headerBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.set(text, 8);
  let position = 8 + headerBytes;
  for (const [, { bytes }] of entries) {
    file.set(bytes, position);
    position += bytes.length;
  }
  return file;
}
