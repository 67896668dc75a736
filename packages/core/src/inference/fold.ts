import { type HostTensor, toFloat32 } from '../weights/host-tensor.js';
import { EPSILON, type Operation } from './network.js';

/** Values in PyTorch's layout: a convolution's are [out, in, height, width], a linear layer's [out, in]. */
export interface Weights { values: Float32Array; shape: number[] }

/** An operation of a folded network: BatchNorm is gone, sums and ReLU are part of what makes their input. */
export type FoldedOperation =
  /** relu(convolution + bias + add); `add` names a value that nothing takes from afterwards, so it may be overwritten. */
  | { kind: 'convolution'; name: string; input: string; add: string | null; relu: boolean; weight: Weights; bias: Float32Array; strides: number; padding: number }
  | { kind: 'linear'; name: string; input: string; relu: boolean; weight: Weights; bias: Float32Array }
  | { kind: 'max-pool'; name: string; input: string }
  | { kind: 'average' | 'largest'; name: string; input: string }
  | { kind: 'concatenation'; name: string; input: string; other: string };

type Weighted = Extract<FoldedOperation, { weight: Weights }>;

/**
 * Folds a network: a BatchNorm in eval mode is a factor and a summand for each channel, which the convolution or linear layer before it
 * can have in its weights (Jacob and others, 2018, section 3.2).
 * @param tensors the state dictionary under torchvision's names, whole and of the right shapes (as `loadStateDict` demands)
 */
export function foldNetwork(operations: readonly Operation[], tensors: ReadonlyMap<string, HostTensor>): FoldedOperation[] {
  const values = (name: string): Weights => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`there is no tensor called ${name}`);
    return { values: toFloat32(tensor), shape: tensor.shape };
  };
  const folded: FoldedOperation[] = [];
  /** Who makes a value, once what follows has become part of it. */
  const makers = new Map<string, FoldedOperation>();
  const named = new Map<string, string>();
  const sourceOf = (value: string) => named.get(value) ?? value;
  const emit = (operation: FoldedOperation) => {
    folded.push(operation);
    makers.set(operation.name, operation);
  };
  const join = (operation: Operation, maker: FoldedOperation | undefined): Weighted => {
    if (maker === undefined || !('weight' in maker)) throw new Error(`${operation.name} follows nothing that it could be folded into`);
    named.set(operation.name, maker.name);
    return maker;
  };
  for (const operation of operations) {
    const input = sourceOf(operation.input), { name } = operation;
    switch (operation.kind) {
      case 'convolution': {
        const weight = values(operation.weight);
        emit({ kind: 'convolution', name, input, add: null, relu: false, weight, bias: new Float32Array(weight.shape[0]!), strides: operation.strides, padding: operation.padding });
        break;
      }
      case 'linear':
        emit({ kind: 'linear', name, input, relu: false, weight: values(`${name}.weight`), bias: values(`${name}.bias`).values });
        break;
      case 'batch-norm': {
        const maker = join(operation, makers.get(input));
        Object.assign(maker, foldBatchNorm(maker, { scale: values(`${name}.weight`).values, shift: values(`${name}.bias`).values, mean: values(`${name}.running_mean`).values, variance: values(`${name}.running_var`).values }));
        break;
      }
      case 'sum': {
        const maker = join(operation, makers.get(input));
        if (maker.kind !== 'convolution') throw new Error(`${name} can only be part of a convolution`);
        maker.add = sourceOf(operation.other);
        break;
      }
      case 'relu':
        join(operation, makers.get(input)).relu = true;
        break;
      case 'concatenation':
        emit({ kind: 'concatenation', name, input, other: sourceOf(operation.other) });
        break;
      case 'max-pool':
        emit({ kind: 'max-pool', name, input });
        break;
      case 'average':
      case 'largest':
        emit({ kind: operation.kind, name, input });
        break;
      default:
        operation satisfies never;
    }
  }
  requireLastUse(folded);
  return folded;
}

/** The values that an operation takes from. */
export function inputsOf(operation: FoldedOperation): string[] {
  if (operation.kind === 'concatenation') return [operation.input, operation.other];
  return operation.kind === 'convolution' && operation.add !== null ? [operation.input, operation.add] : [operation.input];
}

/** What is overwritten must not be asked for again. */
function requireLastUse(folded: readonly FoldedOperation[]): void {
  folded.forEach((operation, i) => {
    if (operation.kind !== 'convolution' || operation.add === null) return;
    const { add } = operation;
    if (operation.input === add || folded.slice(i + 1).some((later) => inputsOf(later).includes(add))) throw new Error(`${add} is needed after ${operation.name} has overwritten it`);
  });
}

export interface BatchNormValues { scale: Float32Array; shift: Float32Array; mean: Float32Array; variance: Float32Array }

/** The weight and bias that do what a weight, a bias and the BatchNorm after them did. In double precision, rounded at the end. */
export function foldBatchNorm({ weight, bias }: { weight: Weights; bias: Float32Array }, { scale, shift, mean, variance }: BatchNormValues): { weight: Weights; bias: Float32Array } {
  const outputs = weight.shape[0]!, each = weight.values.length / outputs;
  const values = new Float32Array(weight.values.length), moved = new Float32Array(outputs);
  for (let o = 0; o < outputs; o++) {
    const factor = scale[o]! / Math.sqrt(variance[o]! + EPSILON);
    for (let i = o * each; i < (o + 1) * each; i++) values[i] = weight.values[i]! * factor;
    moved[o] = (bias[o]! - mean[o]!) * factor + shift[o]!;
  }
  return { weight: { values, shape: weight.shape }, bias: moved };
}
