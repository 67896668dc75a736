/**
 * Rank 0's part of the exchange over gRPC, without sockets: what all ranks bring to one call of theirs, and what each gets back. Sums are made in the
 * order of the ranks, so that all of them get the same bits whoever came first.
 */

export type CallKind = 'float32' | 'bfloat16' | 'float64' | 'broadcast' | 'close';

/** What a rank says of one call; all ranks say the same. */
export interface CallHeader {
  /** Calls are numbered from 0 on every rank. */
  call: number;
  kind: CallKind;
  /** For a broadcast, whose bytes. */
  root: number;
}

interface Round { header: CallHeader; brought: (Uint8Array | undefined)[]; count: number }

/** Two ranks don't make the same call, or not with as many numbers. */
export class CallMismatch extends Error {
  override readonly name = 'CallMismatch';
}

export class Reducer {
  readonly #rounds = new Map<number, Round>();
  constructor(readonly worldSize: number) {}

  /** Takes what a rank brings; gives the result for all ranks when it was the last one, else null. Throws a CallMismatch. */
  bring(rank: number, header: CallHeader, bytes: Uint8Array): Uint8Array | null {
    const { call, kind, root } = header;
    const round = this.#rounds.get(call) ?? { header, brought: new Array<Uint8Array | undefined>(this.worldSize), count: 0 };
    this.#rounds.set(call, round);
    if (round.header.kind !== kind || round.header.root !== root) throw new CallMismatch(`rank ${rank} made call ${call} a ${kind}, which is a ${round.header.kind} to another rank`);
    if (round.brought[rank] !== undefined) throw new CallMismatch(`rank ${rank} made call ${call} twice`);
    round.brought[rank] = bytes;
    if (++round.count < this.worldSize) return null;
    this.#rounds.delete(call);
    return resultOf(header, round.brought as Uint8Array[]);
  }
}

function resultOf({ call, kind, root }: CallHeader, brought: readonly Uint8Array[]): Uint8Array {
  if (kind === 'broadcast') return brought[root]!;
  if (kind === 'close') return new Uint8Array();
  const odd = brought.findIndex(({ byteLength }) => byteLength !== brought[0]!.byteLength);
  if (odd >= 0) throw new CallMismatch(`rank ${odd} brought ${brought[odd]!.byteLength} bytes to call ${call}, rank 0 ${brought[0]!.byteLength}`);
  switch (kind) {
    case 'float32':
      return bytesOf(sum(brought.map((bytes) => new Float32Array(aligned(bytes)))));
    case 'float64':
      return bytesOf(sum(brought.map((bytes) => new Float64Array(aligned(bytes)))));
    case 'bfloat16':
      return bytesOf(toBfloat16(sum(brought.map((bytes) => fromBfloat16(new Uint16Array(aligned(bytes)))))));
    default:
      return kind satisfies never;
  }
}

/** In rank order, from the first's on. */
function sum<A extends Float32Array | Float64Array>(parts: readonly A[]): A {
  const [first, ...others] = parts as [A, ...A[]];
  const total = first.slice() as A;
  for (const part of others) for (let i = 0; i < total.length; i++) total[i]! += part[i]!;
  return total;
}

/** A buffer of its own: typed arrays want their numbers on even addresses, and a Buffer's `slice` copies nothing. */
export const aligned = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;
export const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array => new Uint8Array(buffer, byteOffset, byteLength);

/** bfloat16 is the upper half of a float32. */
export function fromBfloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** To the nearest, ties to even; a NaN stays one. */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length), halves = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    halves[i] = (b & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return halves;
}
