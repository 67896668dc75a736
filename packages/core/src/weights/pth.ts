import { unzipSync } from 'fflate';
import { UserError } from '../errors.js';
import { BYTES_OF, type ElementType, type HostTensor, elementCount } from './host-tensor.js';
import { PickleGlobal, type PickleSurroundings, damaged, readPickle, refused } from './pickle.js';

/**
 * PyTorch's own weight files, read without running them. Both formats are a pickle of dictionaries in which a tensor is
 * (storage, offset, size, stride), and the storages' raw bytes: since torch 1.6 a zip with `data.pkl` and `data/<key>`,
 * before it one pickle after another and then the storages in a row (torch/serialization.py: `_load`, `_legacy_load`).
 */

/** A run of elements outside the pickle; its bytes may come after whoever points at it. */
interface Storage { dtype: ElementType; key: string; count: number; bytes: Uint8Array | null }

/** A part of a storage, of which tensors are views. */
class StoragePart {
  constructor(readonly storage: Storage, readonly start: number, readonly count: number) {}
}

/** What a pickle says of a tensor; offset and strides in elements. */
class StoredTensor {
  constructor(readonly part: StoragePart, readonly offset: number, readonly shape: readonly number[], readonly strides: readonly number[]) {}
}

const STORAGE_TYPES: Record<string, ElementType> = {
  'torch.DoubleStorage': 'F64', 'torch.FloatStorage': 'F32', 'torch.HalfStorage': 'F16', 'torch.BFloat16Storage': 'BF16', 'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32', 'torch.ShortStorage': 'I16', 'torch.CharStorage': 'I8', 'torch.ByteStorage': 'U8', 'torch.BoolStorage': 'BOOL',
  'torch.UntypedStorage': 'U8', 'torch.storage.UntypedStorage': 'U8',
};

const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;
/** PyTorch's own limit on axes. */
const MAX_AXES = 64;
const MAX_ENTRIES = 100_000;
/** Unpacking and gathering may make this many times the file's size, and a little for small files. */
const MAX_GROWTH = 8;
const SMALL_BYTES = 1 << 24;

/**
 * The state dictionary of a `.pth`, `.pt` or `.th` file; one that stands under `state_dict` or `model` is taken out, and
 * what isn't a tensor is left out. Contiguous tensors of the legacy format share `bytes`.
 * @param name what messages call the file
 * @throws UserError where the file is damaged, holds something else, or would call what weights don't need
 */
export function readPth(bytes: Uint8Array, name = 'The file'): Map<string, HostTensor> {
  const value = isZip(bytes) ? readZip(bytes, name) : readLegacy(bytes, name);
  const isTensor = (entry: [unknown, unknown]): entry is [string, StoredTensor] => typeof entry[0] === 'string' && entry[1] instanceof StoredTensor;
  const found = [...stateDictIn(value, name)].filter(isTensor);
  if (found.length === 0) throw new UserError(`${name} is a file of PyTorch's, but there are no tensors in its dictionary. Save model.state_dict() in it.`);
  const gather = gatherer(MAX_GROWTH * bytes.length + SMALL_BYTES, name);
  return new Map(found.map(([key, stored]) => [key, hostTensorOf(stored, key, gather, name)]));
}

export const isZip = (bytes: Uint8Array): boolean => bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 0x03 && bytes[3] === 0x04;

function stateDictIn(value: unknown, name: string): Map<unknown, unknown> {
  if (!(value instanceof Map)) throw new UserError(`${name} is a file of PyTorch's, but holds no dictionary. Save model.state_dict() in it.`);
  for (const key of ['state_dict', 'model']) {
    const inner: unknown = value.get(key);
    if (inner instanceof Map) return inner;
  }
  return value;
}

function readZip(bytes: Uint8Array, name: string): unknown {
  const entries = unzip(bytes, name);
  const pickleName = [...entries.keys()].find((entry) => /^([^/]+\/)?data\.pkl$/.test(entry));
  if (!pickleName) throw new UserError(`${name} is a zip archive, but none of torch.save's: it has no data.pkl. Unpack it, or save model.state_dict().`);
  const prefix = pickleName.slice(0, -'data.pkl'.length);
  if (entries.has(`${prefix}constants.pkl`)) throw new UserError(`${name} is a TorchScript program, not weights. Save its state dictionary alone: torch.save(model.state_dict(), 'weights.pth').`);
  if (new TextDecoder().decode(entries.get(`${prefix}byteorder`)).trim() === 'big') throw bigEndian(name);
  const fill = (storage: Storage) => {
    const data = entries.get(`${prefix}data/${storage.key}`);
    if (!data) throw damaged(name, `it has no storage ${storage.key}`);
    if (data.length < storage.count * BYTES_OF[storage.dtype]) throw damaged(name, `its storage ${storage.key} is cut short`);
    storage.bytes = data;
  };
  return readPickle(entries.get(pickleName)!, 0, surroundings(name, fill)).value;
}

const bigEndian = (name: string) => new UserError(`${name} was written on a big-endian machine, which Chameleon doesn't read. Save it again on an ordinary one.`);

/** The archive's entries, within bounds that a bomb would leave. */
function unzip(bytes: Uint8Array, name: string): Map<string, Uint8Array> {
  let count = 0, stored = 0, inflated = 0;
  const filter = ({ compression, size, originalSize }: { compression: number; size: number; originalSize: number }) => {
    if (compression === 0) stored += size;
    else inflated += originalSize;
    if (++count > MAX_ENTRIES || stored > bytes.length) throw damaged(name, 'its list of entries is wrong');
    if (inflated > MAX_GROWTH * bytes.length + SMALL_BYTES) throw refused(name, `unpacks to more than ${MAX_GROWTH} times its size`);
    return true;
  };
  try {
    return new Map(Object.entries(unzipSync(bytes, { filter })));
  } catch (error) {
    throw error instanceof UserError ? error : damaged(name, 'its zip archive is cut short or changed', error);
  }
}

function readLegacy(bytes: Uint8Array, name: string): unknown {
  const storages = new Map<string, Storage>();
  const globals = surroundings(name, (storage) => storages.set(storage.key, storage));
  let position = 0;
  const next = (): unknown => {
    const { value, end } = readPickle(bytes, position, globals);
    position = end;
    return value;
  };
  if (next() !== LEGACY_MAGIC) throw new UserError(`${name} is a pickle, but not one that torch.save wrote. Save the weights with torch.save(model.state_dict(), 'weights.pth').`);
  const protocol = next();
  if (protocol !== LEGACY_PROTOCOL) throw damaged(name, `its protocol is ${String(protocol)} instead of ${LEGACY_PROTOCOL}`);
  const system = next();
  if (system instanceof Map && system.get('little_endian') === false) throw bigEndian(name);
  const value = next();
  const keys = next();
  if (!Array.isArray(keys)) throw damaged(name, 'its list of storages is missing');
  for (const key of keys as unknown[]) {
    const storage = storages.get(String(key));
    if (!storage) throw damaged(name, `it lists a storage ${String(key)} that no tensor has`);
    position = fillInOrder(storage, bytes, position, name);
  }
  return value;
}

/** A storage in the legacy format is its count as 64 bits, then its elements. Gives where it ends. */
function fillInOrder(storage: Storage, bytes: Uint8Array, position: number, name: string): number {
  const begin = position + 8, end = begin + storage.count * BYTES_OF[storage.dtype];
  if (end > bytes.length) throw damaged(name, `its storage ${storage.key} ends ${end - bytes.length} bytes after the file's end`);
  const count = Number(new DataView(bytes.buffer, bytes.byteOffset + position, 8).getBigUint64(0, true));
  if (count !== storage.count) throw damaged(name, `its storage ${storage.key} has ${count} elements instead of ${storage.count}`);
  storage.bytes = bytes.subarray(begin, end);
  return end;
}

/** What a pickle of torch's may name, and how it speaks of storages. `onStorage` hears of each storage once. */
function surroundings(name: string, onStorage: (storage: Storage) => void): PickleSurroundings {
  const storages = new Map<string, Storage>();
  const types = Object.entries(STORAGE_TYPES).map(([type]) => new PickleGlobal(type));
  const persistent = (id: unknown): StoragePart => {
    const [kind, type, key, , count, view] = Array.isArray(id) ? (id as unknown[]) : [];
    const dtype = type instanceof PickleGlobal ? STORAGE_TYPES[type.name] : undefined;
    if (kind !== 'storage' || !dtype || !['string', 'number', 'bigint'].includes(typeof key) || !isSize(count)) throw damaged(name, 'it speaks of a storage in a way that torch.save does not');
    const label = String(key);
    const storage = storages.get(label) ?? { dtype, key: label, count, bytes: null };
    if (storage.dtype !== dtype || storage.count !== count) throw damaged(name, `it describes its storage ${label} in two ways`);
    if (!storages.has(label)) {
      storages.set(label, storage);
      onStorage(storage);
    }
    return partOf(storage, view, name);
  };
  return { name, persistent, globals: new Map([...functions(name), ...types].map((global) => [global.name, global])) };
}

function partOf(storage: Storage, view: unknown, name: string): StoragePart {
  if (view === null || view === undefined) return new StoragePart(storage, 0, storage.count);
  const [, start, count] = Array.isArray(view) ? (view as unknown[]) : [];
  if (!isSize(start) || !isSize(count) || start + count > storage.count) throw damaged(name, `a part of its storage ${storage.key} lies outside of it`);
  return new StoragePart(storage, start, count);
}

/** The functions that build dictionaries and tensors, as torch/_utils.py has them. */
function functions(name: string): PickleGlobal[] {
  const tensor = (args: readonly unknown[]) => {
    const [part, offset, shape, strides] = args;
    if (!(part instanceof StoragePart) || !isSize(offset) || !areSizes(shape) || !areSizes(strides) || shape.length !== strides.length) throw damaged(name, 'it has a tensor with a malformed shape');
    return new StoredTensor(part, offset, shape, strides);
  };
  const parameter = ([data]: readonly unknown[]) => {
    if (!(data instanceof StoredTensor)) throw damaged(name, 'it has a parameter without a tensor');
    return data;
  };
  return [
    new PickleGlobal('torch._utils._rebuild_tensor', tensor),
    new PickleGlobal('torch._utils._rebuild_tensor_v2', tensor),
    new PickleGlobal('torch._utils._rebuild_parameter', parameter),
    new PickleGlobal('torch.Size', ([sizes]) => sizes),
    new PickleGlobal('collections.OrderedDict', orderedDict(name)),
  ];
}

/** Python 3 makes it empty and puts the entries in afterwards, Python 2 passes a list of pairs, which is copied within a bound. */
function orderedDict(name: string): (args: readonly unknown[]) => Map<unknown, unknown> {
  let copied = 0;
  return ([pairs = []]) => {
    if (!Array.isArray(pairs)) throw damaged(name, 'it has a dictionary that is not made of pairs');
    copied += pairs.length;
    if (copied > MAX_ENTRIES) throw refused(name, `has dictionaries of more than ${MAX_ENTRIES} entries`);
    if (!pairs.every((pair): pair is [unknown, unknown] => Array.isArray(pair) && pair.length === 2)) throw damaged(name, 'it has a dictionary that is not made of pairs');
    return new Map(pairs);
  };
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const areSizes = (value: unknown): value is number[] => Array.isArray(value) && value.length <= MAX_AXES && value.every(isSize);

function hostTensorOf({ part, offset, shape, strides }: StoredTensor, key: string, gather: ReturnType<typeof gatherer>, name: string): HostTensor {
  const { storage, start, count } = part;
  const size = elementCount(shape);
  const dtype = storage.dtype;
  if (size === 0) return { dtype, shape: [...shape], bytes: new Uint8Array(0) };
  const last = shape.reduce((sum, axis, i) => sum + (axis - 1) * strides[i]!, offset);
  if (!(last < count)) throw damaged(name, `${key} with the shape [${shape.join(', ')}] reaches beyond its storage`);
  if (!storage.bytes) throw damaged(name, `the storage of ${key} is missing`);
  const width = BYTES_OF[dtype], begin = (start + offset) * width;
  const bytes = isRowMajor(shape, strides) ? storage.bytes.subarray(begin, begin + size * width) : gather(storage.bytes, begin, width, shape, strides);
  return { dtype, shape: [...shape], bytes };
}

/** An axis of one element may have any stride. */
function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/** Copies views into row-major order, up to `budgetBytes` together: a view with strides of 0 can be of any size. */
function gatherer(budgetBytes: number, name: string) {
  let left = budgetBytes;
  return (source: Uint8Array, begin: number, width: number, shape: readonly number[], strides: readonly number[]): Uint8Array => {
    left -= elementCount(shape) * width;
    if (!(left >= 0)) throw refused(name, `has views that are together more than ${MAX_GROWTH} times as large as the file`);
    const gathered = new Uint8Array(elementCount(shape) * width);
    const index = shape.map(() => 0);
    for (let to = 0, from = begin; to < gathered.length; to += width) {
      for (let byte = 0; byte < width; byte++) gathered[to + byte] = source[from + byte]!;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        from += strides[axis]! * width;
        if (++index[axis]! < shape[axis]!) break;
        from -= shape[axis]! * strides[axis]! * width;
        index[axis] = 0;
      }
    }
    return gathered;
  };
}
