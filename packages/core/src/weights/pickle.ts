import { UserError } from '../errors.js';

/**
 * A pickle is a program for a machine with a stack; Python's own machine calls whatever the program names, which is why
 * nobody should open a stranger's weights with it. This one knows the few opcodes that a dictionary of tensors needs and
 * calls nothing but what its caller lists: everything else is refused by name. The opcodes are few enough to be counted,
 * and none makes more than one value out of its bytes, so the limit on them bounds stack, memo and time at once.
 */
export class PickleGlobal {
  /** @param call what a call builds; absent where the name may be mentioned but not called */
  constructor(readonly name: string, readonly call?: (args: readonly unknown[]) => unknown) {}
}

export interface PickleSurroundings {
  /** By `module.name`. */
  globals: ReadonlyMap<string, PickleGlobal>;
  /** What an object outside the pickle is replaced by. */
  persistent: (id: unknown) => unknown;
  /** What messages call the file. */
  name: string;
}

/** A ResNet152 with Adam's state takes 0.2 million. */
const MAX_OPCODES = 1_000_000;
const MAX_TEXT_BYTES = 1 << 20;
const MAX_INTEGER_BYTES = 64;

export const damaged = (name: string, problem: string, cause?: unknown): UserError => new UserError(`${name} is not a whole weight file: ${problem}. Fetch or save it again.`, { cause });

export const refused = (name: string, deed: string): UserError =>
  new UserError(`${name} ${deed}, which weights have no need of. Nothing of it was run. If you trust the file, save its weights alone in Python: torch.save(model.state_dict(), 'weights.pth').`);

/**
 * Runs the pickle that begins at `start`. Tuples and lists come back as arrays, dictionaries as maps, long integers as
 * bigints; the arrays are shared wherever the pickle shares them, so a reader must not follow them without a bound.
 * @returns the value and where the pickle ended
 * @throws UserError where it is cut short, uses another opcode, or calls what isn't listed
 */
export function readPickle(bytes: Uint8Array, start: number, surroundings: PickleSurroundings): { value: unknown; end: number } {
  const machine = new Machine(bytes, start, surroundings);
  for (let count = 0; count < MAX_OPCODES; count++) {
    const opcode = machine.byte();
    if (opcode === STOP) return { value: machine.pop(), end: machine.position };
    const step = STEPS[opcode];
    if (!step) throw refused(surroundings.name, `uses the pickle opcode 0x${opcode.toString(16).padStart(2, '0')}`);
    step(machine);
  }
  throw refused(surroundings.name, `has a pickle of more than ${MAX_OPCODES.toLocaleString('en')} opcodes`);
}

class Machine {
  readonly memo = new Map<number, unknown>();
  readonly #view: DataView;
  readonly #stack: unknown[] = [];
  readonly #marks: number[] = [];

  constructor(readonly bytes: Uint8Array, public position: number, readonly surroundings: PickleSurroundings) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  damaged(problem: string): UserError {
    return damaged(this.surroundings.name, problem);
  }

  /** Where `count` bytes begin, which are then behind. */
  take(count: number): number {
    const at = this.position;
    if (count > this.bytes.length - at) throw this.damaged('its pickle is cut short');
    this.position = at + count;
    return at;
  }

  byte = (): number => this.bytes[this.take(1)]!;
  uint16 = (): number => this.#view.getUint16(this.take(2), true);
  int32 = (): number => this.#view.getInt32(this.take(4), true);
  uint32 = (): number => this.#view.getUint32(this.take(4), true);
  uint64 = (): number => Number(this.#view.getBigUint64(this.take(8), true));
  float64 = (): number => this.#view.getFloat64(this.take(8), false);

  text(byteCount: number): string {
    if (byteCount > MAX_TEXT_BYTES) throw this.damaged(`its pickle has a text of ${byteCount} bytes`);
    const at = this.take(byteCount);
    return new TextDecoder().decode(this.bytes.subarray(at, at + byteCount));
  }

  line(): string {
    const end = this.bytes.subarray(this.position, this.position + 256).indexOf(NEWLINE);
    if (end < 0) throw this.damaged('its pickle has a name without an end');
    const text = this.text(end);
    this.position++;
    return text;
  }

  /** Two's complement, little-endian. */
  integer(byteCount: number): number | bigint {
    if (byteCount > MAX_INTEGER_BYTES) throw this.damaged(`its pickle has an integer of ${byteCount} bytes`);
    const at = this.take(byteCount);
    const value = this.bytes.subarray(at, at + byteCount).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const signed = BigInt.asIntN(8 * byteCount, value);
    return BigInt.asIntN(53, signed) === signed ? Number(signed) : signed;
  }

  push(value: unknown): void {
    this.#stack.push(value);
  }

  pop(): unknown {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.damaged('its pickle takes more values than it made');
    return this.#stack.pop();
  }

  top(): unknown {
    const value = this.pop();
    this.push(value);
    return value;
  }

  popMany(count: number): unknown[] {
    return Array.from({ length: count }, () => this.pop()).reverse();
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
  }

  popToMark(): unknown[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.damaged('its pickle closes a group that it never opened');
    return this.#stack.splice(mark);
  }

  recall(index: number): void {
    if (!this.memo.has(index)) throw this.damaged(`its pickle recalls entry ${index}, which it never kept`);
    this.push(this.memo.get(index));
  }

  append(values: unknown[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.damaged('its pickle appends to what is no list');
    for (const value of values) list.push(value);
  }

  setItems(pairs: unknown[]): void {
    const target = this.top();
    if (!(target instanceof Map) || pairs.length % 2 !== 0) throw this.damaged('its pickle puts entries into what is no dictionary');
    for (let i = 0; i < pairs.length; i += 2) target.set(pairs[i], pairs[i + 1]);
  }

  global(module: unknown, name: unknown): void {
    const whole = `${String(module)}.${String(name)}`;
    const known = this.surroundings.globals.get(whole);
    if (!known) throw refused(this.surroundings.name, `tries to call ${whole}`);
    this.push(known);
  }

  call(): void {
    const [callee, args] = this.popMany(2);
    if (!(callee instanceof PickleGlobal) || !callee.call) throw refused(this.surroundings.name, `tries to call ${callee instanceof PickleGlobal ? callee.name : 'a value that is no function'}`);
    if (!Array.isArray(args)) throw this.damaged(`its pickle calls ${callee.name} without arguments`);
    this.push(callee.call(args));
  }

  /** Attributes of a dictionary's (torch hangs a module's versions there) are let go. */
  build(): void {
    this.pop();
    if (!(this.top() instanceof Map)) throw refused(this.surroundings.name, 'sets the inner state of an object');
  }
}

const NEWLINE = 0x0a;
const STOP = 0x2e;

/** By opcode; names as in Python's pickletools. */
const STEPS: Readonly<Record<number, (machine: Machine) => void>> = {
  /* PROTO */ 0x80: (m) => void m.byte(),
  /* FRAME */ 0x95: (m) => void m.take(8),
  /* MARK */ 0x28: (m) => m.mark(),
  /* NONE */ 0x4e: (m) => m.push(null),
  /* NEWTRUE */ 0x88: (m) => m.push(true),
  /* NEWFALSE */ 0x89: (m) => m.push(false),
  /* BININT1 */ 0x4b: (m) => m.push(m.byte()),
  /* BININT2 */ 0x4d: (m) => m.push(m.uint16()),
  /* BININT */ 0x4a: (m) => m.push(m.int32()),
  /* LONG1 */ 0x8a: (m) => m.push(m.integer(m.byte())),
  /* LONG4 */ 0x8b: (m) => m.push(m.integer(m.uint32())),
  /* BINFLOAT */ 0x47: (m) => m.push(m.float64()),
  /* SHORT_BINSTRING */ 0x55: (m) => m.push(m.text(m.byte())),
  /* BINSTRING */ 0x54: (m) => m.push(m.text(m.uint32())),
  /* SHORT_BINUNICODE */ 0x8c: (m) => m.push(m.text(m.byte())),
  /* BINUNICODE */ 0x58: (m) => m.push(m.text(m.uint32())),
  /* BINUNICODE8 */ 0x8d: (m) => m.push(m.text(m.uint64())),
  /* EMPTY_TUPLE */ 0x29: (m) => m.push([]),
  /* TUPLE1 */ 0x85: (m) => m.push(m.popMany(1)),
  /* TUPLE2 */ 0x86: (m) => m.push(m.popMany(2)),
  /* TUPLE3 */ 0x87: (m) => m.push(m.popMany(3)),
  /* TUPLE */ 0x74: (m) => m.push(m.popToMark()),
  /* EMPTY_LIST */ 0x5d: (m) => m.push([]),
  /* APPEND */ 0x61: (m) => m.append(m.popMany(1)),
  /* APPENDS */ 0x65: (m) => m.append(m.popToMark()),
  /* EMPTY_DICT */ 0x7d: (m) => m.push(new Map()),
  /* SETITEM */ 0x73: (m) => m.setItems(m.popMany(2)),
  /* SETITEMS */ 0x75: (m) => m.setItems(m.popToMark()),
  /* BINPUT */ 0x71: (m) => void m.memo.set(m.byte(), m.top()),
  /* LONG_BINPUT */ 0x72: (m) => void m.memo.set(m.uint32(), m.top()),
  /* MEMOIZE */ 0x94: (m) => void m.memo.set(m.memo.size, m.top()),
  /* BINGET */ 0x68: (m) => m.recall(m.byte()),
  /* LONG_BINGET */ 0x6a: (m) => m.recall(m.uint32()),
  /* GLOBAL */ 0x63: (m) => m.global(m.line(), m.line()),
  /* STACK_GLOBAL */ 0x93: (m) => m.global(...(m.popMany(2) as [unknown, unknown])),
  /* REDUCE */ 0x52: (m) => m.call(),
  /* BUILD */ 0x62: (m) => m.build(),
  /* BINPERSID */ 0x51: (m) => m.push(m.surroundings.persistent(m.pop())),
};
