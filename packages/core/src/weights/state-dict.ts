import { type Tensor, tensor, transpose } from '@tensorflow/tfjs-core';
import { UserError } from '../errors.js';
import type { Classifier } from '../models/classifier.js';
import { filterFromMemory } from '../models/builder.js';
import type { Layout } from '../parameter.js';
import { type HostTensor, elementCount, hostTensor, integerTensor, toFloat32 } from './host-tensor.js';

/** What a state dictionary brings: all of a classifier, or the body alone while the head keeps its first values. */
export type LoadScope = 'all' | 'body';

export interface LoadOptions {
  scope: LoadScope;
  /** What messages call the file. */
  name?: string;
}

interface Slot { name: string; shape: number[]; layout: Layout; replace: (value: Tensor) => void }

/**
 * Puts a state dictionary under torchvision's names into a model. A `module.` prefix (DataParallel's) is taken off.
 * @throws UserError that lists the keys that are missing, unexpected or of another shape; then nothing was changed
 */
export function loadStateDict(model: Classifier, tensors: ReadonlyMap<string, HostTensor>, { scope, name = 'The weights' }: LoadOptions): void {
  const given = new Map([...tensors].map(([key, value]) => [key.replace(/^module\./, ''), value]));
  const isHead = (key: string) => key.startsWith('fc.');
  const wanted = slotsOf(model).filter((slot) => scope === 'all' || !isHead(slot.name));
  const names = new Set(wanted.map((slot) => slot.name));
  const missing = wanted.filter((slot) => !given.has(slot.name)).map((slot) => slot.name);
  const unexpected = [...given.keys()].filter((key) => !names.has(key) && !key.endsWith('num_batches_tracked') && !(scope === 'body' && isHead(key)));
  const reshaped = wanted.flatMap((slot) => {
    const found = given.get(slot.name), shape = fileShape(slot.shape, slot.layout);
    return found && found.shape.join() !== shape.join() ? [`${slot.name} is [${found.shape.join(', ')}] instead of [${shape.join(', ')}]`] : [];
  });
  if (missing.length + unexpected.length + reshaped.length > 0) throw mismatch(name, model, { missing, unexpected, reshaped });
  for (const slot of wanted) slot.replace(toDevice(given.get(slot.name)!, slot));
  for (const layer of model.batchNorms()) {
    const count = given.get(`${layer.name}.num_batches_tracked`);
    if (count && elementCount(count.shape) === 1 && (scope === 'all' || !isHead(layer.name))) layer.batchesTracked = toFloat32(count)[0]!;
  }
}

/** The model's state under torchvision's names and in PyTorch's layout, float32; reads the tensors from the device. */
export function stateDictOf(model: Classifier): Map<string, HostTensor> {
  const state = new Map<string, HostTensor>();
  for (const parameter of model.parameters()) state.set(parameter.name, toHost(parameter.value, parameter.layout));
  for (const buffer of model.buffers()) state.set(buffer.name, toHost(buffer.value, 'plain'));
  for (const layer of model.batchNorms()) state.set(`${layer.name}.num_batches_tracked`, integerTensor(layer.batchesTracked));
  return state;
}

/** A tensor of ours in PyTorch's layout. */
export function toHost(value: Tensor, layout: Layout): HostTensor {
  if (layout === 'plain') return hostTensor(value.dataSync() as Float32Array, value.shape);
  const stored = transpose(value, [3, 2, 0, 1]);
  try {
    return hostTensor(stored.dataSync() as Float32Array, stored.shape);
  } finally {
    stored.dispose();
  }
}

/** A tensor of a file's in our layout; `shape` is ours. */
export function toDevice(source: HostTensor, { shape, layout }: { shape: number[]; layout: Layout }): Tensor {
  const values = toFloat32(source);
  if (layout === 'plain') return tensor(values.slice(), shape);
  const [height, width, inputs, outputs] = shape as [number, number, number, number];
  return filterFromMemory(channelsLast(values, outputs, inputs, height * width), [outputs, height, width, inputs]);
}

/** [out, in, positions] → [out, positions, in]. */
function channelsLast(values: Float32Array, outputs: number, inputs: number, positions: number): Float32Array {
  const moved = new Float32Array(values.length);
  for (let o = 0; o < outputs; o++)
    for (let i = 0; i < inputs; i++)
      for (let p = 0; p < positions; p++) moved[(o * positions + p) * inputs + i] = values[(o * inputs + i) * positions + p]!;
  return moved;
}

function slotsOf(model: Classifier): Slot[] {
  return [
    ...model.parameters().map((p): Slot => ({ name: p.name, shape: p.shape, layout: p.layout, replace: (value) => p.replace(value) })),
    ...model.buffers().map((b): Slot => ({ name: b.name, shape: b.value.shape, layout: 'plain', replace: (value) => b.replace(value) })),
  ];
}

const fileShape = (shape: number[], layout: Layout): number[] => (layout === 'filter' ? [shape[3]!, shape[2]!, shape[0]!, shape[1]!] : shape);

function mismatch(name: string, model: Classifier, { missing, unexpected, reshaped }: Record<'missing' | 'unexpected' | 'reshaped', string[]>): UserError {
  const listed = (title: string, keys: string[]) => (keys.length === 0 ? [] : [`${keys.length} ${title}: ${keys.slice(0, 6).join(', ')}${keys.length > 6 ? ' …' : ''}`]);
  const parts = [...listed('missing', missing), ...listed('unexpected', unexpected), ...listed('of another shape', reshaped)];
  return new UserError(`${name} does not fit ${model.architecture.name} with ${model.classCount} classes. Keys ${parts.join('; ')}. Choose the architecture that the weights were made for with --arch.`);
}
