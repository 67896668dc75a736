import { type ParameterGroup, UserError } from '@chameleon/core';
import { alone } from './exchange/exchange.js';
import { peakBytes, resetPeakBytes } from './step-bench.js';
import { type StepBatch, type StepParts, type StepResult, trainStep } from './training-step.js';

/** A step that ran out of memory, with the batch that would fit. */
export class StepOutOfMemory extends UserError {
  override readonly name = 'StepOutOfMemory';
}

/** What a backend's errors of memory carry beside their code (tfjs-libtorch, out-of-memory.ts). */
interface OutOfMemory extends Error { limitBytes?: number }

const isOutOfMemory = (error: unknown): error is OutOfMemory => error instanceof Error && (error as NodeJS.ErrnoException).code === 'ERR_OUT_OF_MEMORY';

/** Pictures of the two small steps from which a picture's bytes follow; BatchNorm wants more than one. */
const SMALL = [2, 4] as const;
/** Blocks that are kept are up to an eighth larger than what lies in them. */
const SHARE = 0.9;

/**
 * Takes a step; one that runs out of memory throws a StepOutOfMemory with the batch size that would fit. That is measured: two small steps give
 * what a picture takes, and the batch is named once a step of it went through. The run is over then, so those steps may change the model.
 */
export async function stepInMemory(batch: StepBatch, groups: readonly ParameterGroup[], parts: StepParts): Promise<StepResult> {
  try {
    return await trainStep(batch, groups, parts);
  } catch (error) {
    if (!isOutOfMemory(error)) throw error;
    throw new StepOutOfMemory(`Out of memory in ${whatRan(batch, parts)}: ${error.message}. ${await advice(error, batch, groups, parts)}`, { cause: error });
  }
}

const whatRan = ({ rows, globalBatch }: StepBatch, { settings, exchange }: StepParts): string =>
  `a step of ${globalBatch} pictures of ${settings.imageSize} px${exchange.worldSize > 1 ? `, ${rows} of them here` : ''}${settings.accumulate > 1 ? `, in ${settings.accumulate} parts` : ''}`;

async function advice(error: OutOfMemory, batch: StepBatch, groups: readonly ParameterGroup[], parts: StepParts): Promise<string> {
  const { settings: { accumulate, imageSize }, exchange } = parts, { rows } = batch;
  const fitting = await pictureCountThatFits(Math.ceil(rows / Math.min(accumulate, rows)), error.limitBytes, (count) => peakOf(firstOf(batch, count, imageSize), groups, parts));
  if (fitting === null) return 'Not even two pictures fit: lower --image-size, choose a smaller --arch, or give it more memory.';
  return `${fitting} pictures at a time fit, as tried: pass --batch-size ${fitting * accumulate * exchange.worldSize}, or keep the batch and pass --accumulate ${Math.ceil(rows / fitting)}.`;
}

/**
 * The most pictures of a step that go into `limitBytes`, as a round number below `failed`; null where not even two do. `peakOf` runs a step of so
 * many and gives its peak in bytes, null where it runs out of memory.
 */
export async function pictureCountThatFits(failed: number, limitBytes: number | undefined, peakOf: (rows: number) => Promise<number | null>): Promise<number | null> {
  const [few, more] = SMALL;
  const low = failed > few ? await peakOf(few) : null;
  if (low === null) return null;
  const high = failed > more ? await peakOf(more) : null;
  if (high === null) return few;
  const expected = limitBytes === undefined || high <= low ? failed : few + ((SHARE * limitBytes - low) / (high - low)) * (more - few);
  for (let count = roundDown(Math.min(failed - 1, expected)); count > more; count = roundDown(count - 1)) if ((await peakOf(count)) !== null) return count;
  return more;
}

/** The largest of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 … up to a number: powers of two and the middles between them. */
export function roundDown(count: number): number {
  const power = 2 ** Math.floor(Math.log2(Math.max(1, count)));
  return count >= 1.5 * power && power > 1 ? 1.5 * power : power;
}

/** The first pictures of a batch. */
function firstOf(batch: StepBatch, rows: number, imageSize: number): StepBatch {
  const each = imageSize * imageSize * 3;
  return { ...batch, pixels: batch.pixels.subarray(0, rows * each), labels: batch.labels.subarray(0, rows), indices: batch.indices.subarray(0, rows), rows, globalBatch: rows, votes: [] };
}

/** The peak of a step after the one that made the optimizer's state; null where memory ran out. */
async function peakOf(batch: StepBatch, groups: readonly ParameterGroup[], parts: StepParts): Promise<number | null> {
  const one: StepParts = { ...parts, exchange: alone, settings: { ...parts.settings, accumulate: 1, syncBatchNorm: false } };
  try {
    await trainStep(batch, groups, one);
    resetPeakBytes();
    await trainStep(batch, groups, one);
    return peakBytes() ?? 0;
  } catch (error) {
    if (isOutOfMemory(error)) return null;
    throw error;
  }
}
