import { zipSync } from 'fflate';

/** Pickles and PyTorch's files put together by hand, so that tests can bend them; as much of it as tests need. */
export const opcodes = {
  proto: Uint8Array.of(0x80, 2),
  stop: Uint8Array.of(0x2e),
  mark: Uint8Array.of(0x28),
  none: Uint8Array.of(0x4e),
  emptyDict: Uint8Array.of(0x7d),
  emptyList: Uint8Array.of(0x5d),
  emptyTuple: Uint8Array.of(0x29),
  tuple: Uint8Array.of(0x74),
  append: Uint8Array.of(0x61),
  appends: Uint8Array.of(0x65),
  setItem: Uint8Array.of(0x73),
  setItems: Uint8Array.of(0x75),
  reduce: Uint8Array.of(0x52),
  build: Uint8Array.of(0x62),
  persistentId: Uint8Array.of(0x51),
  put: (index: number) => Uint8Array.of(0x71, index),
  get: (index: number) => Uint8Array.of(0x68, index),
  integer: (value: number) => join(Uint8Array.of(0x4a), little(value, 4)),
  text: (value: string) => join(Uint8Array.of(0x58), little(new TextEncoder().encode(value).length, 4), new TextEncoder().encode(value)),
  global: (module: string, name: string) => new TextEncoder().encode(`c${module}\n${name}\n`),
};

export function join(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}

export function little(value: number, byteCount: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, BigInt(value))).buffer).subarray(0, byteCount);
}

export const pickle = (...parts: Uint8Array[]): Uint8Array => join(opcodes.proto, ...parts, opcodes.stop);

export interface FakeTensor { name: string; key: string; count: number; offset?: number; shape: number[]; strides: number[] }

const tupleOf = (values: readonly number[]) => join(opcodes.mark, ...values.map(opcodes.integer), opcodes.tuple);

/** The opcodes of one float32 tensor, as torch.save writes them; `legacy` adds the storage's view, which is none. */
export function tensorCode({ key, count, offset = 0, shape, strides }: FakeTensor, legacy = false): Uint8Array {
  const { global, mark, text, integer, tuple, none, persistentId, reduce, emptyTuple } = opcodes;
  const storage = join(mark, text('storage'), global('torch', 'FloatStorage'), text(key), text('cpu'), integer(count), legacy ? none : new Uint8Array(0), tuple, persistentId);
  const hooks = join(global('collections', 'OrderedDict'), emptyTuple, reduce);
  return join(global('torch._utils', '_rebuild_tensor_v2'), mark, storage, integer(offset), tupleOf(shape), tupleOf(strides), Uint8Array.of(0x89), hooks, tuple, reduce);
}

const dictOf = (tensors: readonly FakeTensor[], legacy: boolean) =>
  pickle(opcodes.emptyDict, opcodes.mark, ...tensors.flatMap((tensor) => [opcodes.text(tensor.name), tensorCode(tensor, legacy)]), opcodes.setItems);

/** A zip as torch.save makes it, around any pickle. */
export function zipFile(data: Uint8Array, storages: Record<string, Uint8Array>, { level = 0, more = {} }: { level?: 0 | 9; more?: Record<string, Uint8Array> } = {}): Uint8Array {
  const entries = Object.entries(storages).map(([key, bytes]) => [`archive/data/${key}`, bytes] as const);
  return zipSync({ 'archive/data.pkl': data, ...Object.fromEntries(entries), 'archive/version': new TextEncoder().encode('3\n'), ...more }, { level });
}

export const zipOf = (tensors: readonly FakeTensor[], storages: Record<string, Uint8Array>, options?: Parameters<typeof zipFile>[2]): Uint8Array => zipFile(dictOf(tensors, false), storages, options);

/** The legacy format around any pickle. */
export function legacyFile(object: Uint8Array, storages: Record<string, Float32Array>): Uint8Array {
  const { emptyList, mark, text, appends, emptyDict, integer, setItem } = opcodes;
  const magic = pickle(Uint8Array.of(0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19));
  const system = pickle(emptyDict, text('little_endian'), Uint8Array.of(0x88), setItem);
  const keys = pickle(emptyList, mark, ...Object.keys(storages).map(text), appends);
  const data = Object.values(storages).map((values) => join(little(values.length, 8), new Uint8Array(values.buffer, values.byteOffset, values.byteLength)));
  return join(magic, pickle(integer(1001)), system, object, keys, ...data);
}

export const legacyOf = (tensors: readonly FakeTensor[], storages: Record<string, Float32Array>): Uint8Array => legacyFile(dictOf(tensors, true), storages);
