import { PAYLOAD } from './links.mjs';
import { ROUNDS, allReduceMs, efficiency, stepTime } from './model.mjs';

/** What the model says beside what was measured, and of machines that were not at hand. */

const BYTES_OF = { float32: 4, bfloat16: 2 };
/** bytes/ms of a link */
const bandwidthOf = (gigabits) => (gigabits * 1e9) / 8 / 1000;

const withBytes = ({ buckets, ...step }, wire) => ({ ...step, buckets: buckets.map(({ numbers, readyMs }) => ({ bytes: numbers * BYTES_OF[wire], readyMs })) });

/**
 * Each link's step as the model has it, from the step without an exchange. A limited link's bandwidth is what `tc` was told, less the headers; an
 * unlimited one's comes from the exchange that was measured on it with nothing else to do. The latency is half of a small sum's time.
 * @returns {{ megabits: number | null, measured: { stepMs: number, exchangeMs: number }, modelled: { stepMs: number, exchangeMs: number, hidden: number }, off: number }[]}
 *   `off`: how much longer the modelled step is, as a share of the measured one
 */
export function compareLinks({ profile, links, wire }) {
  const step = withBytes(profile, wire), bytes = step.buckets.reduce((sum, bucket) => sum + bucket.bytes, 0);
  return links.map(({ megabits, sumMs, exchangeMs, processorMs, stepMs }) => {
    const latencyMs = sumMs / ROUNDS.direct(2);
    const bandwidth = megabits === null ? bytes / Math.max(1e-3, exchangeMs - step.buckets.length * sumMs) : bandwidthOf(megabits / 1000) * PAYLOAD;
    const modelled = stepTime(step, 2, { bandwidth, latencyMs, hostMsPerByte: processorMs / bytes }, 'direct');
    return { megabits, measured: { stepMs, exchangeMs }, modelled, off: modelled.stepMs / stepMs - 1 };
  });
}

/** Nothing of this was measured here: what others published, and what makers state. */
export const GPU = { name: 'A100', architecture: 'resnet50', pictures: 64, picturesPerSecond: 2600, perNode: 8, source: 'pytorch-image-models#1491 (AMP, channels-last, batch 512)' };
/** Of a node: all its GPUs send by it. Latencies are of a message between two of its kind. */
export const NETWORKS = [
  { name: '10 Gbit/s', gigabits: 10, latencyMs: 0.03 },
  { name: '25 Gbit/s', gigabits: 25, latencyMs: 0.02 },
  { name: '100 Gbit/s', gigabits: 100, latencyMs: 0.01 },
  { name: '8 × 200 Gbit/s', gigabits: 1600, latencyMs: 0.005 },
];
/** NVLink 3 in one direction, GB/s. */
export const INSIDE = { gigabits: 8 * 300, latencyMs: 0.003 };
export const WORLD_SIZES = [8, 16, 32, 64, 128, 256, 512, 1024];

/** The step of a GPU alone: its time by the published speed, its course by the profile that was measured on a processor. */
export function gpuStep({ forwardMs, backwardMs, optimizerMs, buckets }, { pictures, picturesPerSecond }) {
  const scale = (1000 * pictures) / picturesPerSecond / (forwardMs + backwardMs + optimizerMs);
  return { forwardMs: forwardMs * scale, backwardMs: backwardMs * scale, optimizerMs: optimizerMs * scale, buckets: buckets.map(({ numbers, readyMs }) => ({ numbers, readyMs: readyMs * scale })) };
}

/** The efficiency of so many GPUs, by the ring or by trees, whichever is the faster. */
export function projectGpus(profile, worldSize, network, wire, gpu = GPU) {
  const step = withBytes(gpuStep(profile, gpu), wire), link = worldSize <= gpu.perNode ? INSIDE : network;
  const given = { bandwidth: bandwidthOf(link.gigabits), latencyMs: link.latencyMs };
  return Math.max(...['ring', 'tree'].map((way) => efficiency(step, worldSize, given, way)));
}

/** The bandwidth of a node, in Gbit/s, from which on so many GPUs hide all but the last bucket. */
export function neededGigabits(profile, worldSize, wire, gpu = GPU) {
  const step = withBytes(gpuStep(profile, gpu), wire), [last] = step.buckets.slice(-1), early = step.buckets.slice(0, -1);
  const hides = (gigabits) => {
    const given = { bandwidth: bandwidthOf(gigabits), latencyMs: 0 }, { waitMs } = stepTime(step, worldSize, given);
    return waitMs <= allReduceMs(last.bytes, worldSize, given) + 1e-9;
  };
  if (early.length === 0) return 0;
  let [low, high] = [0.01, 10_000];
  for (let i = 0; i < 40; i++) {
    const middle = Math.sqrt(low * high);
    if (hides(middle)) high = middle;
    else low = middle;
  }
  return high;
}
