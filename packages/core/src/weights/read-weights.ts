import { UserError } from '../errors.js';
import type { HostTensor } from './host-tensor.js';
import { isZip, readPth } from './pth.js';
import { readSafetensors } from './safetensors.js';

/**
 * The tensors of a weight file of any format that Chameleon reads, told apart by the first bytes: safetensors, or one of
 * PyTorch's two.
 * @param name what messages call the file
 * @throws UserError where it is damaged, or is something else; then it says what it looks like
 */
export function readWeights(bytes: Uint8Array, name: string): Map<string, HostTensor> {
  if (bytes[8] === BRACE || name.endsWith('.safetensors')) return readSafetensors(bytes, name).tensors;
  if (isZip(bytes) || bytes[0] === PICKLE) return readPth(bytes, name);
  throw new UserError(`${name} is no weight file: it looks like ${guess(bytes)}. Pass a safetensors file, or one that torch.save wrote (.pth, .pt, .th).`);
}

const BRACE = 0x7b;
const PICKLE = 0x80;

function guess(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'an empty file';
  const head = String.fromCharCode(...bytes.subarray(0, 512));
  if (head.startsWith('ustar', 257)) return "a tar archive, or PyTorch's format from before 0.1.10";
  const known = KNOWN.find(([start]) => start.test(head));
  if (known) return known[1];
  const isText = !/[^\t\n\r\x20-\x7e]/.test(head);
  return isText ? 'plain text' : `no format that we know (it begins with ${[...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')})`;
}

const KNOWN: [RegExp, string][] = [
  [/^version https:\/\/git-lfs/, 'a pointer of Git LFS, whose content was not fetched (git lfs pull)'],
  [/^\s*(<!doctype|<html|<\?xml)/i, 'a web page, such as a server sends in place of a file'],
  [/^\s*[{[]/, 'JSON'],
  [/^\x1f\x8b/, 'a gzip archive'],
  [/^\x89HDF/, "an HDF5 file, such as Keras's"],
  [/^GGUF/, 'a GGUF file'],
  [/^\x93NUMPY/, 'a NumPy array'],
  [/^\x89PNG|^\xff\xd8\xff/, 'a picture'],
  [/^\x7fELF/, 'a program'],
];
