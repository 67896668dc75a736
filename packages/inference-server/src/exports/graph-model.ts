import { type FoldedOperation, type HostTensor, type ModelCard, findArchitecture, foldNetwork, networkOf } from '@chameleon/core';
import type { io } from '@tensorflow/tfjs-core';
import { exportMetadata } from './metadata.js';

/**
 * The network as a TensorFlow.js graph model, BatchNorm folded: input `pictures` [N, size, size, 3], outputs `logits` and
 * `probabilities` [N, classes]. The topology is a TensorFlow GraphDef in JSON, as tfjs-converter writes it.
 */
export interface GraphModel {
  /** `model.json` without the names of the weight files. */
  json: Omit<io.ModelJSON, 'weightsManifest'>;
  specs: io.WeightsManifestEntry[];
  weights: Uint8Array;
}

type Attribute = { type: string } | { s: string } | { i: string } | { f: number } | { b: boolean } | { list: { s?: string[]; i?: string[] } } | { shape: { dim: { size: string }[] } };
interface Node { name: string; op: string; input?: string[]; attr: Record<string, Attribute> }

const FLOATS = { T: { type: 'DT_FLOAT' } };
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const texts = (...values: string[]): Attribute => ({ list: { s: values.map(base64) } });
const integers = (...values: number[]): Attribute => ({ list: { i: values.map(String) } });

/** @param tensors the state dictionary under torchvision's names */
export function makeGraphModel(card: ModelCard, tensors: ReadonlyMap<string, HostTensor>, version: string): GraphModel {
  const operations = foldNetwork(networkOf(findArchitecture(card.architecture), card.head), tensors);
  const constants = new Constants();
  const nodes: Node[] = [
    { name: 'pictures', op: 'Placeholder', attr: { dtype: { type: 'DT_FLOAT' }, shape: { shape: { dim: [-1, card.imageSize, card.imageSize, 3].map((size) => ({ size: String(size) })) } } } },
    ...operations.flatMap((operation) => nodesOf(operation, constants)),
    { name: 'logits', op: 'Identity', input: [nodeName(operations.at(-1)!.name)], attr: FLOATS },
    { name: 'probabilities', op: 'Softmax', input: ['logits'], attr: FLOATS },
  ];
  const tensorInfo = (name: string, sizes: number[]) => ({ name: `${name}:0`, dtype: 'DT_FLOAT', tensorShape: { dim: sizes.map((size) => ({ size: String(size) })) } });
  return {
    json: {
      format: 'graph-model',
      generatedBy: `chameleon ${version}`,
      convertedBy: null,
      signature: {
        inputs: { pictures: tensorInfo('pictures', [-1, card.imageSize, card.imageSize, 3]) },
        outputs: { logits: tensorInfo('logits', [-1, card.classes.length]), probabilities: tensorInfo('probabilities', [-1, card.classes.length]) },
      },
      userDefinedMetadata: exportMetadata(card, 'NHWC'),
      modelTopology: { node: [...constants.nodes, ...nodes], library: {}, versions: { producer: 1395 } },
    },
    specs: constants.specs,
    weights: constants.bytes(),
  };
}

/** TensorFlow's names have no dots. */
const nodeName = (name: string): string => name.replaceAll('.', '/');

/** The values that the graph's nodes take, one after another in one block. */
class Constants {
  readonly nodes: Node[] = [];
  readonly specs: io.WeightsManifestEntry[] = [];
  readonly #parts: Uint8Array[] = [];

  add(name: string, values: Float32Array | Int32Array, shape: number[]): string {
    const dtype = values instanceof Float32Array ? 'float32' : 'int32';
    this.nodes.push({ name, op: 'Const', attr: { dtype: { type: dtype === 'float32' ? 'DT_FLOAT' : 'DT_INT32' } } });
    this.specs.push({ name, shape, dtype });
    this.#parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return name;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

function nodesOf(operation: FoldedOperation, constants: Constants): Node[] {
  const name = nodeName(operation.name), input = nodeName(operation.input);
  switch (operation.kind) {
    case 'convolution':
      return convolutionNodes(name, input, operation, constants);
    case 'linear': {
      const weight = constants.add(`${name}/weight`, operation.weight.values, operation.weight.shape), bias = constants.add(`${name}/bias`, operation.bias, [operation.bias.length]);
      const fused = operation.relu ? ['BiasAdd', 'Relu'] : ['BiasAdd'];
      return [{ name, op: '_FusedMatMul', input: [input, weight, bias], attr: { ...FLOATS, transpose_a: { b: false }, transpose_b: { b: true }, fused_ops: texts(...fused), num_args: { i: '1' }, epsilon: { f: 0 }, leakyrelu_alpha: { f: 0.2 } } }];
    }
    case 'max-pool': {
      // TF.js's executor pads maxima for "same" alone, which is another padding than torch's. Zeros are right here: nothing before is negative.
      const paddings = constants.add(`${name}/paddings`, Int32Array.from([0, 0, 1, 1, 1, 1, 0, 0]), [4, 2]);
      return [
        { name: `${name}/padded`, op: 'Pad', input: [input, paddings], attr: { ...FLOATS, Tpaddings: { type: 'DT_INT32' } } },
        { name, op: 'MaxPool', input: [`${name}/padded`], attr: { ...FLOATS, ksize: integers(1, 3, 3, 1), strides: integers(1, 2, 2, 1), padding: { s: base64('VALID') }, data_format: { s: base64('NHWC') } } },
      ];
    }
    case 'average':
    case 'largest': {
      const axes = constants.add(`${name}/axes`, Int32Array.from([1, 2]), [2]);
      return [{ name, op: operation.kind === 'average' ? 'Mean' : 'Max', input: [input, axes], attr: { ...FLOATS, Tidx: { type: 'DT_INT32' }, keep_dims: { b: false } } }];
    }
    case 'concatenation': {
      const axis = constants.add(`${name}/axis`, Int32Array.from([1]), []);
      return [{ name, op: 'ConcatV2', input: [input, nodeName(operation.other), axis], attr: { ...FLOATS, Tidx: { type: 'DT_INT32' }, N: { i: '2' } } }];
    }
    default:
      return operation satisfies never;
  }
}

/** Convolution and bias are one node, ReLU too where no sum comes between. */
function convolutionNodes(name: string, input: string, { weight, bias, strides, padding, relu, add }: Extract<FoldedOperation, { kind: 'convolution' }>, constants: Constants): Node[] {
  const filter = constants.add(`${name}/filter`, filterForTensorFlow(weight.values, weight.shape), [weight.shape[2]!, weight.shape[3]!, weight.shape[1]!, weight.shape[0]!]);
  const summand = constants.add(`${name}/bias`, bias, [bias.length]);
  const attr = {
    ...FLOATS, strides: integers(1, strides, strides, 1), dilations: integers(1, 1, 1, 1), data_format: { s: base64('NHWC') }, padding: { s: base64('EXPLICIT') }, explicit_paddings: integers(0, 0, padding, padding, padding, padding, 0, 0),
    fused_ops: texts('BiasAdd', ...(relu && add === null ? ['Relu'] : [])), num_args: { i: '1' }, epsilon: { f: 0 }, leakyrelu_alpha: { f: 0.2 },
  };
  const product = add === null ? name : `${name}/product`;
  const nodes: Node[] = [{ name: product, op: '_FusedConv2D', input: [input, filter, summand], attr }];
  if (add === null) return nodes;
  const sum = relu ? `${name}/sum` : name;
  nodes.push({ name: sum, op: 'AddV2', input: [product, nodeName(add)], attr: FLOATS });
  return relu ? [...nodes, { name, op: 'Relu', input: [sum], attr: FLOATS }] : nodes;
}

/** [out, in, height, width] → [height, width, in, out]. */
function filterForTensorFlow(values: Float32Array, shape: readonly number[]): Float32Array {
  const [outputs, inputs, height, width] = shape as [number, number, number, number];
  const positions = height * width, moved = new Float32Array(values.length);
  for (let o = 0; o < outputs; o++)
    for (let i = 0; i < inputs; i++)
      for (let p = 0; p < positions; p++) moved[(p * inputs + i) * outputs + o] = values[(o * inputs + i) * positions + p]!;
  return moved;
}
