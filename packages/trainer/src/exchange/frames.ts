import type { CallHeader, CallKind } from './reducer.js';

/** Calls as messages: what a rank brings, or is given, in pieces of at most 1 MiB behind a header of 10 bytes. */

const KINDS: readonly CallKind[] = ['float32', 'bfloat16', 'float64', 'broadcast', 'close'];
const PIECE_BYTES = 1 << 20;
const HEADER_BYTES = 10;

/** [call: 4 bytes, root: 4 bytes, kind: 1 byte, whether it is the last piece: 1 byte, piece] */
export function* framesOf({ call, kind, root }: CallHeader, bytes: Uint8Array): Generator<Buffer> {
  for (let from = 0, last = false; !last; from += PIECE_BYTES) {
    const piece = bytes.subarray(from, from + PIECE_BYTES);
    last = from + PIECE_BYTES >= bytes.byteLength;
    const frame = Buffer.allocUnsafe(HEADER_BYTES + piece.byteLength);
    frame.writeUInt32LE(call, 0);
    frame.writeUInt32LE(root, 4);
    frame.writeUInt8(KINDS.indexOf(kind), 8);
    frame.writeUInt8(Number(last), 9);
    frame.set(piece, HEADER_BYTES);
    yield frame;
  }
}

/** Puts the pieces of one sender together, which come in order. */
export class Assembler {
  #pieces: Buffer[] = [];

  /** The call that a frame completes, or null. Throws an Error when the frame is none of ours. */
  add(frame: Buffer): { header: CallHeader; bytes: Uint8Array } | null {
    const kind = frame.byteLength < HEADER_BYTES ? undefined : KINDS[frame.readUInt8(8)];
    if (kind === undefined) throw new Error('a message came that is none of the exchange’s');
    this.#pieces.push(frame.subarray(HEADER_BYTES));
    if (frame.readUInt8(9) === 0) return null;
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    return { header: { call: frame.readUInt32LE(0), root: frame.readUInt32LE(4), kind }, bytes };
  }
}
