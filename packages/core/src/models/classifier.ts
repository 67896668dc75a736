import type { Tensor } from '@tensorflow/tfjs-core';
import { Relu } from '../modules/activation.js';
import { BatchNorm } from '../modules/batch-norm.js';
import { ConvolutionUnit } from '../modules/convolution-unit.js';
import { Dropout } from '../modules/dropout.js';
import { type Module, Sequential, consumeAll } from '../modules/module.js';
import { ConcatPool, GlobalAveragePool, MaxPool } from '../modules/pooling.js';
import { STEM_POOL } from '../ops/pooling.js';
import { toPrecision } from '../ops/precision.js';
import type { Parameter, StateBuffer } from '../parameter.js';
import type { Pass } from '../tape.js';
import { type Architecture, featureCount, findArchitecture } from './architecture.js';
import { Stage, buildBlock } from './blocks.js';
import { Builder } from './builder.js';

export type HeadKind = 'linear' | 'deep';

export interface ClassifierOptions {
  /** A name that `findArchitecture` knows, or an architecture of one's own. */
  architecture: string | Architecture;
  classCount: number;
  head: HeadKind;
  /** Names the first values; the head's always, the body's unless `bodyIsLoaded`. */
  seed: number;
  /** The body's weights come from a file: it starts with zeros, which is quick. */
  bodyIsLoaded?: boolean;
}

/** The stages in torchvision's order and names; freezing and rates speak of these. */
export const STAGE_NAMES = ['conv1', 'bn1', 'layer1', 'layer2', 'layer3', 'layer4', 'fc'] as const;
export type StageName = (typeof STAGE_NAMES)[number];

/**
 * A ResNet with a head: torchvision's resnet, with `fc` for the head's name whatever is in it. Owns its tensors;
 * `dispose` lets them go.
 */
export class Classifier {
  constructor(
    readonly architecture: Architecture,
    readonly head: HeadKind,
    readonly classCount: number,
    readonly stages: ReadonlyMap<StageName, Stage>,
    private readonly body: readonly Module[],
    private readonly pool: Module,
  ) {}

  /** Normalised pictures [batch, height, width, 3] → logits [batch, classes] in float32. */
  forward(pictures: Tensor, pass: Pass): Tensor {
    return this.consume(pictures.clone(), pass);
  }

  /** The same, but lets go of the pictures as soon as they are read. */
  consume(pictures: Tensor, pass: Pass): Tensor {
    return consumeAll(narrowed(pictures, pass), pass, [...this.body, this.pool, this.stages.get('fc')!]);
  }

  /** What layer4 gives: [batch, height / 32, width / 32, channels] in the pass's precision. */
  features(pictures: Tensor, pass: Pass): Tensor {
    return consumeAll(narrowed(pictures.clone(), pass), pass, this.body);
  }

  parameters(): Parameter[] {
    return [...this.stages.values()].flatMap((stage) => stage.parameters());
  }

  buffers(): StateBuffer[] {
    return [...this.stages.values()].flatMap((stage) => stage.buffers());
  }

  batchNorms(stages: readonly StageName[] = STAGE_NAMES): BatchNorm[] {
    return stages.flatMap((name) => this.stages.get(name)!.leaves.filter((module): module is BatchNorm => module instanceof BatchNorm));
  }

  dispose(): void {
    for (const tensor of [...this.parameters(), ...this.buffers()]) tensor.dispose();
  }
}

/** In the pass's precision; lets go of the pictures. */
function narrowed(pictures: Tensor, { precision }: Pass): Tensor {
  const x = toPrecision(pictures, precision);
  pictures.dispose();
  return x;
}

export function createClassifier({ architecture: wanted, classCount, head, seed, bodyIsLoaded = false }: ClassifierOptions): Classifier {
  const architecture = typeof wanted === 'string' ? findArchitecture(wanted) : wanted;
  const { width } = architecture;
  // The last stage's 3 x 3 convolutions have the largest filters, bottlenecks or not.
  const builder = new Builder(bodyIsLoaded ? null : seed, 9 * (8 * width) ** 2);
  const stem = { conv1: builder.conv('conv1', 3, width, 7, 2), bn1: builder.batchNorm('bn1', width) };
  const stages = new Map<StageName, Stage>([
    ['conv1', new Stage('conv1', [stem.conv1], [stem.conv1])],
    ['bn1', new Stage('bn1', [stem.bn1], [stem.bn1])],
  ]);
  let channels = width;
  architecture.layers.forEach((count, index) => {
    const stage = `layer${index + 1}` as StageName;
    const built = Array.from({ length: count }, (_, i) => {
      const block = buildBlock(builder, architecture.block, `${stage}.${i}`, channels, width * 2 ** index, i === 0 && index > 0 ? 2 : 1);
      channels = block.outputs;
      return block;
    });
    stages.set(stage, new Stage(stage, built.map(({ block }) => block), built.flatMap(({ modules }) => modules)));
  });
  const body = [new ConvolutionUnit(stem.conv1, stem.bn1, true), new MaxPool(STEM_POOL), ...(['layer1', 'layer2', 'layer3', 'layer4'] as const).map((stage) => stages.get(stage)!)];
  const headModules = buildHead(head, new Builder(seed), featureCount(architecture), classCount);
  stages.set('fc', new Stage('fc', [new Sequential(headModules)], headModules));
  return new Classifier(architecture, head, classCount, stages, body, head === 'deep' ? new ConcatPool() : new GlobalAveragePool());
}

/** The article's deeper head stands under the names that torch.nn.Sequential would give it. */
function buildHead(head: HeadKind, builder: Builder, features: number, classes: number): Module[] {
  if (head === 'linear') return [builder.linear('fc', features, classes)];
  const hidden = 512;
  return [builder.linear('fc.0', 2 * features, hidden), builder.batchNorm('fc.1', hidden), new Relu(), new Dropout('fc.3', 0.5), builder.linear('fc.4', hidden, classes)];
}
