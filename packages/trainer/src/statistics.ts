import { tensor } from '@tensorflow/tfjs-core';
import type { FitParts } from './fit.js';

/**
 * Makes BatchNorm's running statistics the mean over the ranks, where they moved: each rank's were those of its own pictures.
 * All ranks call it at the same moment, before they judge the model or leave a checkpoint. Synchronised statistics are equal already.
 */
export async function agreeOnStatistics({ model, exchange, config }: Pick<FitParts, 'model' | 'exchange' | 'config'>): Promise<void> {
  if (config.syncBatchNorm) return;
  const layers = model.batchNorms().filter((layer) => layer.usesBatchStatistics);
  if (exchange.worldSize === 1 || layers.length === 0) return;
  const buffers = layers.flatMap((layer) => layer.buffers());
  const own = buffers.flatMap((buffer) => Array.from(buffer.value.dataSync()));
  const sums = await exchange.sumNumbers([...own, ...layers.map((layer) => layer.batchesTracked)]);
  let offset = 0;
  for (const buffer of buffers) {
    const { size, shape } = buffer.value;
    buffer.replace(tensor(sums.slice(offset, offset + size).map((value) => value / exchange.worldSize), shape));
    offset += size;
  }
  layers.forEach((layer, i) => (layer.batchesTracked = Math.round(sums[offset + i]! / exchange.worldSize)));
}
