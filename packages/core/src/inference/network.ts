import type { HeadKind } from '../models/classifier.js';
import { type Architecture, expansion } from '../models/architecture.js';

/**
 * A classifier as a list of operations, each after those that it takes from: for what runs one elsewhere than in a training step
 * (folding, exports). Values are called as what makes them; the first is `pictures`, the last one's are the logits.
 */
export type Operation =
  /** torch.nn.Conv2d without a bias; `weight` names its tensor. */
  | { kind: 'convolution'; name: string; input: string; weight: string; strides: number; padding: number }
  /** torch.nn.BatchNorm in eval mode; its tensors are called `name`.weight, .bias, .running_mean and .running_var. */
  | { kind: 'batch-norm'; name: string; input: string }
  | { kind: 'relu'; name: string; input: string }
  /** torch.nn.MaxPool2d(3, stride=2, padding=1). */
  | { kind: 'max-pool'; name: string; input: string }
  | { kind: 'sum'; name: string; input: string; other: string }
  /** The mean, or the largest, of each channel over all positions. */
  | { kind: 'average' | 'largest'; name: string; input: string }
  /** Side by side along the channels. */
  | { kind: 'concatenation'; name: string; input: string; other: string }
  /** torch.nn.Linear; its tensors are called `name`.weight and .bias. */
  | { kind: 'linear'; name: string; input: string };

export const PICTURES = 'pictures';
/** What layer4 gives. */
export const FEATURES = 'layer4';
/** BatchNorm's, in all of torchvision's ResNets. */
export const EPSILON = 1e-5;

/** The operations of a classifier, in an order in which they can be computed. */
export function networkOf({ block, layers, width }: Pick<Architecture, 'block' | 'layers' | 'width'>, head: HeadKind): Operation[] {
  const operations: Operation[] = [
    ...convolution('conv1', 'bn1', PICTURES, 2, 3),
    { kind: 'relu', name: 'relu', input: 'bn1' },
    { kind: 'max-pool', name: 'maxpool', input: 'relu' },
  ];
  let input = 'maxpool', channels = width;
  layers.forEach((count, stage) => {
    for (let i = 0; i < count; i++) {
      const name = `layer${stage + 1}.${i}`, strides = i === 0 && stage > 0 ? 2 : 1, outputs = width * 2 ** stage * expansion(block);
      const last = i === count - 1;
      operations.push(...residual(block, name, input, strides, strides !== 1 || channels !== outputs, last ? `layer${stage + 1}` : name));
      [input, channels] = [last ? `layer${stage + 1}` : name, outputs];
    }
  });
  return [...operations, ...(head === 'deep' ? deepHead() : linearHead())];
}

const convolution = (name: string, batchNorm: string, input: string, strides: number, padding: number): Operation[] => [
  { kind: 'convolution', name, input, weight: `${name}.weight`, strides, padding },
  { kind: 'batch-norm', name: batchNorm, input: name },
];

/** The projection comes first, so that the sum can be part of the last convolution. */
function residual(block: Architecture['block'], name: string, input: string, strides: number, projects: boolean, output: string): Operation[] {
  const steps: readonly [strides: number, padding: number][] = block === 'basic' ? [[strides, 1], [1, 1]] : [[1, 0], [strides, 1], [1, 0]];
  let from = input;
  const main = steps.flatMap(([step, padding], i): Operation[] => {
    const layer = convolution(`${name}.conv${i + 1}`, `${name}.bn${i + 1}`, from, step, padding);
    from = `${name}.bn${i + 1}`;
    if (i === steps.length - 1) return layer;
    layer.push({ kind: 'relu', name: `${name}.relu${i + 1}`, input: from });
    from = `${name}.relu${i + 1}`;
    return layer;
  });
  return [
    ...(projects ? convolution(`${name}.downsample.0`, `${name}.downsample.1`, input, strides, 0) : []),
    ...main,
    { kind: 'sum', name: `${name}.sum`, input: from, other: projects ? `${name}.downsample.1` : input },
    { kind: 'relu', name: output, input: `${name}.sum` },
  ];
}

const linearHead = (): Operation[] => [
  { kind: 'average', name: 'avgpool', input: FEATURES },
  { kind: 'linear', name: 'fc', input: 'avgpool' },
];

/** Its dropout does nothing here. */
const deepHead = (): Operation[] => [
  { kind: 'average', name: 'avgpool', input: FEATURES },
  { kind: 'largest', name: 'maxpool2', input: FEATURES },
  { kind: 'concatenation', name: 'pooled', input: 'avgpool', other: 'maxpool2' },
  { kind: 'linear', name: 'fc.0', input: 'pooled' },
  { kind: 'batch-norm', name: 'fc.1', input: 'fc.0' },
  { kind: 'relu', name: 'fc.2', input: 'fc.1' },
  { kind: 'linear', name: 'fc.4', input: 'fc.2' },
];
