import { Float16Array, isFloat16Array } from '@petamoriken/float16';

/** Element types as safetensors names them, and their size in bytes. */
export const BYTES_OF = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const;
export type ElementType = keyof typeof BYTES_OF;

/** A tensor in a file's memory: row-major, little-endian, in PyTorch's layout. */
export interface HostTensor {
  dtype: ElementType;
  shape: number[];
  bytes: Uint8Array;
}

export const elementCount = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Values as a float32 tensor; borrows the array. */
export function hostTensor(values: Float32Array, shape: number[]): HostTensor {
  return { dtype: 'F32', shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

/** The same values in half precision, for files that should be small. */
export function toHalf(tensor: HostTensor): HostTensor {
  const half = Float16Array.from(toFloat32(tensor));
  if (!isFloat16Array(half)) throw new TypeError('half-precision arrays are not to be had');
  return { dtype: 'F16', shape: tensor.shape, bytes: new Uint8Array(half.buffer, half.byteOffset, half.byteLength) };
}

/** Counts as torch keeps them (`num_batches_tracked`): one 64-bit integer without axes. */
export function integerTensor(value: number): HostTensor {
  return { dtype: 'I64', shape: [], bytes: new Uint8Array(BigInt64Array.of(BigInt(value)).buffer) };
}

/** The values as float32: wider types are rounded, half precision and integers are widened. */
export function toFloat32({ dtype, bytes, shape }: HostTensor): Float32Array {
  const count = elementCount(shape);
  // Not bytes.slice(): a Buffer's is no copy.
  const aligned = bytes.byteOffset % BYTES_OF[dtype] === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset } = aligned;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, count);
    case 'F64':
      return Float32Array.from(new Float64Array(buffer, byteOffset, count));
    case 'F16':
      return Float32Array.from(new Float16Array(buffer, byteOffset, count) as unknown as ArrayLike<number>);
    case 'BF16': {
      const wide = new Uint32Array(count);
      new Uint16Array(buffer, byteOffset, count).forEach((bits, i) => (wide[i] = bits << 16));
      return new Float32Array(wide.buffer);
    }
    case 'I64':
      return Float32Array.from(new BigInt64Array(buffer, byteOffset, count), Number);
    case 'I32':
      return Float32Array.from(new Int32Array(buffer, byteOffset, count));
    case 'I16':
      return Float32Array.from(new Int16Array(buffer, byteOffset, count));
    case 'I8':
      return Float32Array.from(new Int8Array(buffer, byteOffset, count));
    case 'U8':
    case 'BOOL':
      return Float32Array.from(new Uint8Array(buffer, byteOffset, count));
    default:
      return dtype satisfies never;
  }
}
