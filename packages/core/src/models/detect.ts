import { type Architecture, architectureNames, findArchitecture } from './architecture.js';

/**
 * The architecture whose tensors these are, by the stem's channels, the blocks of each layer and their kind; null when
 * it is none that we know. Keys may carry a `module.` prefix.
 */
export function detectArchitecture(tensors: ReadonlyMap<string, { shape: readonly number[] }>): Architecture | null {
  const shapes = new Map([...tensors].map(([key, { shape }]) => [key.replace(/^module\./, ''), shape]));
  const width = shapes.get('conv1.weight')?.[0];
  const block = shapes.has('layer1.0.conv3.weight') ? 'bottleneck' : 'basic';
  const blocks = (layer: number) => [...shapes.keys()].filter((key) => new RegExp(`^layer${layer}\\.\\d+\\.conv1\\.weight$`).test(key)).length;
  const layers = [1, 2, 3, 4].map(blocks);
  return architectureNames.map(findArchitecture).find((known) => known.width === width && known.block === block && known.layers.join() === layers.join()) ?? null;
}
