import type { Classifier } from '@chameleon/core';
import type { Exchange } from './exchange/exchange.js';

/**
 * Whether all ranks hold the same weights, bit for bit: each brings 24 bits of a hash of its own (FNV-1a over their 32-bit words), and their sum is
 * compared with as many times this rank's. All ranks call it at the same moment. True for a rank that is alone.
 */
export async function replicasAreEqual(model: Classifier, exchange: Exchange): Promise<boolean> {
  if (exchange.worldSize === 1) return true;
  const own = weightsHash(model);
  const [sum] = await exchange.sumNumbers([own]);
  return sum === exchange.worldSize * own;
}

function weightsHash(model: Classifier): number {
  let hash = 0x811c9dc5;
  for (const { value } of model.parameters()) {
    const { buffer, byteOffset, length } = value.dataSync<'float32'>();
    const words = new Int32Array(buffer, byteOffset, length);
    for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ words[i]!, 0x01000193);
  }
  return (hash ^ (hash >>> 24)) & 0xffffff;
}
