import { UserError, nearest } from '../errors.js';

export type BlockKind = 'basic' | 'bottleneck';

/** A ResNet (He and others, 2015) in torchvision's form, as data. */
export interface Architecture {
  name: string;
  block: BlockKind;
  /** Blocks in layer1 … layer4. */
  layers: readonly [number, number, number, number];
  /** Channels of the stem and of layer1; each next layer has twice as many. torchvision's are 64. */
  width: number;
}

const ARCHITECTURES: readonly Architecture[] = [
  { name: 'resnet16w32', block: 'basic', layers: [2, 2, 2, 1], width: 32 },
  { name: 'resnet18', block: 'basic', layers: [2, 2, 2, 2], width: 64 },
  { name: 'resnet34', block: 'basic', layers: [3, 4, 6, 3], width: 64 },
  { name: 'resnet50', block: 'bottleneck', layers: [3, 4, 6, 3], width: 64 },
  { name: 'resnet101', block: 'bottleneck', layers: [3, 4, 23, 3], width: 64 },
  { name: 'resnet152', block: 'bottleneck', layers: [3, 8, 36, 3], width: 64 },
];

export const architectureNames = ARCHITECTURES.map((architecture) => architecture.name);

export function findArchitecture(name: string): Architecture {
  const found = ARCHITECTURES.find((architecture) => architecture.name === name);
  if (found) return found;
  const near = nearest(name, architectureNames);
  throw new UserError(`There is no architecture called ${name}. ${near ? `Did you mean ${near}? ` : ''}Choose one of ${architectureNames.join(', ')}.`, { exitCode: 2 });
}

export const expansion = (block: BlockKind): number => (block === 'basic' ? 1 : 4);

/** Channels of the body's output. */
export const featureCount = ({ block, width }: Architecture): number => 8 * width * expansion(block);
