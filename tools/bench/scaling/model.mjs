/**
 * How long a step of data-parallel training takes, from what one worker needs alone and from what the network is said to do. Gradients are summed
 * in buckets, in the order in which the way back makes them ready; one bucket travels at a time, while the way back goes on.
 *
 * All times in ms, sizes in bytes, bandwidths in bytes/ms (1 Gbit/s is 125,000).
 *
 * @typedef {{ bytes: number, readyMs: number }} Bucket `readyMs`: after the way back began, when nothing else is done
 * @typedef {{ forwardMs: number, backwardMs: number, optimizerMs: number, buckets: Bucket[] }} Step of one worker alone
 * @typedef {{ bandwidth: number, latencyMs: number, hostMsPerByte?: number }} Network
 *   `bandwidth`: what a worker sends at, and receives at the same time; `latencyMs`: of one message from a rank to the next;
 *   `hostMsPerByte`: of processor time that a bucket's byte takes away from the way back, where both have the same core
 */

/** How often an all-reduce waits for a message, by the way it goes. Bytes are the same for all of them. */
export const ROUNDS = {
  /** Round the ring, once to add up and once to hand out (Patarasuk and Yuan, 2009). */
  ring: (worldSize) => 2 * (worldSize - 1),
  /** Up and down a tree; NCCL's double binary trees use the whole bandwidth too (Sanders, Speck and Träff, 2009). */
  tree: (worldSize) => 2 * Math.ceil(Math.log2(worldSize)),
  /** Everybody sends to everybody: what Chameleon does over Gloo. */
  direct: (worldSize) => (worldSize > 1 ? 2 : 0),
};

/** Of an all-reduce: rounds · latency + 2(n-1)/n · bytes / bandwidth. */
export function allReduceMs(bytes, worldSize, { bandwidth, latencyMs }, way = 'ring') {
  return ROUNDS[way](worldSize) * latencyMs + (2 * (worldSize - 1) * bytes) / worldSize / bandwidth;
}

/**
 * One step of all workers. A bucket leaves when it is ready and the one before has arrived; the step's figures are one more sum, of a few numbers.
 * @param {Step} step @param {Network} network @param {'ring' | 'tree' | 'direct'} way
 * @returns {{ stepMs: number, exchangeMs: number, waitMs: number, hidden: number }} `exchangeMs`: of all buckets, one after the other;
 *   `waitMs`: how much longer the way back and the exchange take than the way back alone; `hidden`: the share of the exchange that is not waited for
 */
export function stepTime({ forwardMs, backwardMs, optimizerMs, buckets }, worldSize, network, way = 'ring') {
  let nowMs = 0, computedMs = 0, exchangeMs = 0;
  for (const { bytes, readyMs } of buckets) {
    if (computedMs < readyMs) {
      nowMs += readyMs - computedMs;
      computedMs = readyMs;
    }
    const travelMs = allReduceMs(bytes, worldSize, network, way), taken = travelMs > 0 ? Math.min(1, ((network.hostMsPerByte ?? 0) * bytes) / travelMs) : 0;
    computedMs = Math.min(backwardMs, computedMs + travelMs * (1 - taken));
    nowMs += travelMs;
    exchangeMs += travelMs;
  }
  const waitMs = nowMs + (backwardMs - computedMs) - backwardMs;
  const figuresMs = ROUNDS[way](worldSize) * network.latencyMs;
  return { stepMs: forwardMs + backwardMs + waitMs + figuresMs + optimizerMs, exchangeMs, waitMs, hidden: exchangeMs > 0 ? 1 - waitMs / exchangeMs : 1 };
}

/** What a GPU that is one of `worldSize` does of what it does alone. */
export function efficiency(step, worldSize, network, way) {
  return (step.forwardMs + step.backwardMs + step.optimizerMs) / stepTime(step, worldSize, network, way).stepMs;
}
