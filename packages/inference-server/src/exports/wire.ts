/** Protocol Buffers' wire format (https://protobuf.dev/programming-guides/encoding), writing only: what an ONNX file needs of it. */

export type Field = readonly [number: number, value: FieldValue];
/** Whole numbers go as varints; `{ float }` as 32 bits; texts, bytes and messages with their length; a list once for each value. */
export type FieldValue = number | string | Uint8Array | { float: number } | readonly Field[] | { each: readonly FieldValue[] };

const utf8 = new TextEncoder();

/** A message's bytes, its fields in the order given. */
export function encodeMessage(fields: readonly Field[]): Uint8Array {
  return joinBytes(fields.flatMap(([number, value]) => encodeField(number, value)));
}

function encodeField(number: number, value: FieldValue): Uint8Array[] {
  if (typeof value === 'number') return [varint(number << 3), varint(value)];
  if (typeof value === 'string') return withLength(number, utf8.encode(value));
  if (value instanceof Uint8Array) return withLength(number, value);
  if ('each' in value) return value.each.flatMap((one) => encodeField(number, one));
  if ('float' in value) {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value.float, true);
    return [varint((number << 3) | 5), bytes];
  }
  return withLength(number, encodeMessage(value));
}

const withLength = (number: number, bytes: Uint8Array): Uint8Array[] => [varint((number << 3) | 2), varint(bytes.length), bytes];

/** 7 bits a byte, the lowest first; negative numbers as their 64-bit two's complement. */
export function varint(value: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no whole number`);
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}

function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
