import type { UploadedPicture } from '../classify.js';
import { sharedPixels } from '../decode/preprocess.js';
import { decodeBase64 } from '../http/pictures.js';
import { Problem } from '../problems.js';
import { type InferAnswer, type InferInput, type InferRequest, inferRequestSchema } from './schemas.js';

/** Tensors of the Open Inference Protocol, in JSON and in the binary extension: from bytes to values and back. */

const bad = (detail: string): never => {
  throw new Problem('bad-request', detail);
};

/** A request with its binary tensors, in the order of its inputs. */
export interface ParsedInfer {
  request: InferRequest;
  /** Bytes of each input that came in binary. */
  binary: Map<InferInput, Buffer>;
}

/** @param headerLength the header Inference-Header-Content-Length; undefined: all of the body is JSON */
export function parseInfer(body: Buffer, headerLength: string | undefined): ParsedInfer {
  const length = headerLength === undefined ? body.length : Number(headerLength);
  if (!Number.isInteger(length) || length < 0 || length > body.length) bad(`Inference-Header-Content-Length says ${headerLength}; the body has ${body.length} bytes.`);
  const request = inferRequestSchema.parse(parseJson(body.subarray(0, length)));
  const binary = new Map<InferInput, Buffer>();
  let position = length;
  for (const input of request.inputs) {
    const size = input.parameters?.binary_data_size;
    if (size === undefined) continue;
    if (typeof size !== 'number' || !Number.isInteger(size) || size < 0 || position + size > body.length) bad(`The binary data of ${input.name} goes beyond the end of the body.`);
    binary.set(input, body.subarray(position, position + (size as number)));
    position += size as number;
  }
  if (position !== body.length) bad(`The body has ${body.length - position} bytes more than its inputs.`);
  return { request, binary };
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    return bad(`The body is not JSON (${(error as Error).message.slice(0, 200)}).`);
  }
}

/** Pictures as [size, size, 3] each, from a tensor FP32 [pictures, size, size, 3]. */
export function readPixels(input: InferInput, binary: Buffer | undefined, imageSize: number, maxPictures: number): Float32Array[] {
  const { shape, datatype, name } = input;
  if (datatype !== 'FP32') bad(`${name} is ${datatype}; it has to be FP32.`);
  const [count = 0, height, width, channels] = shape;
  if (shape.length !== 4 || height !== imageSize || width !== imageSize || channels !== 3) bad(`${name} has the shape [${shape.join(', ')}]; it has to be [pictures, ${imageSize}, ${imageSize}, 3].`);
  requireCount(count, maxPictures);
  const each = imageSize * imageSize * 3;
  const pixels = sharedPixels(count * each);
  if (binary) {
    if (binary.length !== pixels.byteLength) bad(`${name} brings ${binary.length} bytes; its shape needs ${pixels.byteLength}.`);
    new Uint8Array(pixels.buffer).set(binary);
  } else flatten(input, pixels);
  if (!pixels.every(Number.isFinite)) bad(`${name} has values that are not finite numbers.`);
  return Array.from({ length: count }, (_, i) => pixels.subarray(i * each, (i + 1) * each));
}

/** Encoded pictures from a tensor BYTES [pictures]: raw in the binary extension, base64 in JSON. */
export function readEncodedPictures(input: InferInput, binary: Buffer | undefined, maxPictures: number): UploadedPicture[] {
  const { shape, datatype, name } = input;
  if (datatype !== 'BYTES') bad(`${name} is ${datatype}; it has to be BYTES.`);
  const count = shape[0]!;
  if (shape.length > 2 || (shape[1] ?? 1) !== 1) bad(`${name} has the shape [${shape.join(', ')}]; it has to be [pictures].`);
  requireCount(count, maxPictures);
  const elements = binary ? splitElements(binary, name) : textsOf(input).map((text, i) => decodeBase64(text, `${name}[${i}]`));
  if (elements.length !== count) bad(`${name} brings ${elements.length} elements; its shape says ${count}.`);
  return elements.map((bytes, i) => ({ bytes, name: `${name}[${i}]` }));
}

function requireCount(count: number, maxPictures: number): void {
  if (count === 0) bad('There is no picture.');
  if (count > maxPictures) throw new Problem('too-large', `The request brings ${count} pictures; ${maxPictures} are allowed.`);
}

/** Values of a JSON tensor, flat or nested as its shape says. */
function flatten({ data, name, shape }: InferInput, into: Float32Array): void {
  let position = 0;
  const visit = (value: unknown, depth: number): void => {
    if (Array.isArray(value)) {
      if (depth >= shape.length) bad(`${name} is nested deeper than its shape.`);
      for (const element of value) visit(element, depth + 1);
      return;
    }
    if (typeof value !== 'number') bad(`${name} has values that are not numbers.`);
    if (position >= into.length) bad(`${name} brings more values than its shape says.`);
    into[position++] = value as number;
  };
  if (!Array.isArray(data)) bad(`${name} has no data.`);
  visit(data, 0);
  if (position !== into.length) bad(`${name} brings ${position} values; its shape needs ${into.length}.`);
}

function textsOf({ data, name }: InferInput): string[] {
  const flat = Array.isArray(data) ? data.flat(1) : bad(`${name} has no data.`);
  return flat.map((value: unknown) => (typeof value === 'string' ? value : bad(`${name} has elements that are not texts in base64.`)));
}

/** Elements of a BYTES tensor: 4 bytes of length each, little-endian, then the bytes. */
export function splitElements(bytes: Buffer, name: string): Buffer[] {
  const elements: Buffer[] = [];
  let position = 0;
  while (position < bytes.length) {
    const length = position + 4 <= bytes.length ? bytes.readUInt32LE(position) : Infinity;
    if (position + 4 + length > bytes.length) bad(`An element of ${name} goes beyond the end of its data.`);
    elements.push(bytes.subarray(position + 4, position + 4 + length));
    position += 4 + length;
  }
  return elements;
}

function joinElements(texts: readonly string[]): Buffer {
  return Buffer.concat(texts.flatMap((text) => {
    const bytes = Buffer.from(text), length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return [length, bytes];
  }));
}

export type OutputTensor = { name: string; shape: number[] } & ({ datatype: 'FP32'; values: Float32Array } | { datatype: 'BYTES'; values: string[] });

/** The answer's JSON, and the bytes of those outputs that were asked for in binary. */
export function encodeOutputs(tensors: readonly OutputTensor[], { parameters, outputs }: InferRequest): { outputs: InferAnswer['outputs']; binary: Buffer[] } {
  const binary: Buffer[] = [];
  const chosen = outputs && outputs.length > 0 ? outputs : tensors.map(({ name }) => ({ name, parameters: undefined }));
  const encoded = chosen.map(({ name, parameters: own }) => {
    const tensor = tensors.find((candidate) => candidate.name === name) ?? bad(`There is no output ${name.slice(0, 100)}. There are ${tensors.map((candidate) => candidate.name).join(', ')}.`);
    const { datatype, shape } = tensor;
    if (!(own?.binary_data ?? parameters?.binary_data_output ?? false)) return { name, datatype, shape, data: datatype === 'FP32' ? Array.from(tensor.values) : tensor.values };
    const bytes = tensor.datatype === 'FP32' ? Buffer.from(Float32Array.from(tensor.values).buffer) : joinElements(tensor.values);
    binary.push(bytes);
    return { name, datatype, shape, parameters: { binary_data_size: bytes.length } };
  });
  return { outputs: encoded, binary };
}
