import { EPSILON, type HostTensor, type ModelCard, type Operation, findArchitecture, networkOf, toFloat32 } from '@chameleon/core';
import { exportMetadata } from './metadata.js';
import { type Field, encodeMessage } from './wire.js';

/**
 * The network as an ONNX model (https://onnx.ai/onnx/repo-docs/IR.html), BatchNorm and all: input `pictures` [N, 3, size, size],
 * outputs `logits` and `probabilities` [N, classes]. Numbers are the fields' of onnx.proto3.
 */

const IR_VERSION = 8, OPSET = 17, FLOAT = 1;
const ATTRIBUTE = { float: 1, integer: 2, integers: 7 } as const;

interface Node { type: string; inputs: string[]; output: string; attributes?: Record<string, number | { float: number } | number[]> }

/** @param tensors the state dictionary under torchvision's names */
export function writeOnnx(card: ModelCard, tensors: ReadonlyMap<string, HostTensor>, version: string): Uint8Array {
  const operations = networkOf(findArchitecture(card.architecture), card.head);
  const nodes: Node[] = [
    ...operations.flatMap(nodesOf),
    { type: 'Identity', inputs: [operations.at(-1)!.name], output: 'logits' },
    { type: 'Softmax', inputs: ['logits'], output: 'probabilities', attributes: { axis: 1 } },
  ];
  const used = new Set(nodes.flatMap(({ inputs }) => inputs));
  const initializers = [...tensors].filter(([name]) => used.has(name));
  const graph: Field[] = [
    [1, { each: nodes.map(nodeFields) }],
    [2, card.name],
    [5, { each: initializers.map(([name, tensor]) => tensorFields(name, tensor)) }],
    [11, valueFields('pictures', ['N', 3, card.imageSize, card.imageSize])],
    [12, { each: ['logits', 'probabilities'].map((name) => valueFields(name, ['N', card.classes.length])) }],
  ];
  return encodeMessage([
    [1, IR_VERSION],
    [2, 'chameleon'],
    [3, version],
    [7, graph],
    [8, [[1, ''], [2, OPSET]]],
    [14, { each: Object.entries(exportMetadata(card, 'NCHW')).map(([key, value]): Field[] => [[1, key], [2, value]]) }],
  ]);
}

function nodesOf(operation: Operation): Node[] {
  const { name, input } = operation;
  switch (operation.kind) {
    case 'convolution': {
      const { strides, padding } = operation;
      return [{ type: 'Conv', inputs: [input, operation.weight], output: name, attributes: { strides: [strides, strides], pads: [padding, padding, padding, padding] } }];
    }
    case 'batch-norm':
      return [{ type: 'BatchNormalization', inputs: [input, `${name}.weight`, `${name}.bias`, `${name}.running_mean`, `${name}.running_var`], output: name, attributes: { epsilon: { float: EPSILON } } }];
    case 'relu':
      return [{ type: 'Relu', inputs: [input], output: name }];
    case 'max-pool':
      return [{ type: 'MaxPool', inputs: [input], output: name, attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] } }];
    case 'sum':
      return [{ type: 'Add', inputs: [input, operation.other], output: name }];
    case 'average':
    case 'largest':
      return [{ type: operation.kind === 'average' ? 'GlobalAveragePool' : 'GlobalMaxPool', inputs: [input], output: `${name}.positions` }, { type: 'Flatten', inputs: [`${name}.positions`], output: name }];
    case 'concatenation':
      return [{ type: 'Concat', inputs: [input, operation.other], output: name, attributes: { axis: 1 } }];
    case 'linear':
      return [{ type: 'Gemm', inputs: [input, `${name}.weight`, `${name}.bias`], output: name, attributes: { transB: 1 } }];
    default:
      return operation satisfies never;
  }
}

function nodeFields({ type, inputs, output, attributes = {} }: Node): Field[] {
  return [[1, { each: inputs }], [2, output], [3, output], [4, type], [5, { each: Object.entries(attributes).map(([name, value]) => attributeFields(name, value)) }]];
}

function attributeFields(name: string, value: number | { float: number } | number[]): Field[] {
  if (typeof value === 'number') return [[1, name], [3, value], [20, ATTRIBUTE.integer]];
  if (Array.isArray(value)) return [[1, name], [8, { each: value }], [20, ATTRIBUTE.integers]];
  return [[1, name], [2, value], [20, ATTRIBUTE.float]];
}

function tensorFields(name: string, tensor: HostTensor): Field[] {
  const { buffer, byteOffset, byteLength } = toFloat32(tensor);
  return [[1, { each: tensor.shape }], [2, FLOAT], [8, name], [9, new Uint8Array(buffer, byteOffset, byteLength)]];
}

/** A dimension without a fixed size has a name instead. */
function valueFields(name: string, shape: readonly (number | string)[]): Field[] {
  const dimensions = shape.map((size): Field[] => [typeof size === 'number' ? [1, size] : [2, size]]);
  return [[1, name], [2, [[1, [[1, FLOAT], [2, [[1, { each: dimensions }]]]]]]]];
}
