import { type Classifier, type Precision, Tape, UserError } from '@chameleon/core';
import { memory, tensor } from '@tensorflow/tfjs-core';
import { rememberStatistics, whole } from './global-batch-norm.js';

/** What a run that asked for too much memory is told: the batch size that would fit, by what two pictures take. */

interface Step { model: Classifier; rows: number; accumulate: number; precision: Precision; imageSize: number }

/** The pictures of the pass that is made to know what one takes: BatchNorm needs two. */
const PROBED = 2;
/** What the way back holds beside activations (gradients of activations, the primitives' scratch memory), as a part of these. */
const BACKWARD_SHARE = 0.25;

/**
 * The allocator's complaint as a mistake that a user can mend; anything else as it is. To be called when what the step made is gone.
 * @returns a UserError with the largest batch size that fits in what the step was allowed
 */
export function explainOutOfMemory(error: unknown, step: Step): unknown {
  const [, asked, inUse] = /out of memory: (\d+) bytes were asked for while (\d+) are in use/.exec(error instanceof Error ? error.message : '') ?? [];
  if (asked === undefined) return error;
  const said = `Out of memory in a step of ${step.rows} pictures of ${step.imageSize} px.`;
  const fits = batchThatFits(Number(inUse), step);
  const advice = fits === null || fits < 1 ? 'Not even one picture would fit: take a smaller --image-size or --arch.' : `A --batch-size of ${fits} would fit; --accumulate ${Math.ceil(step.rows / fits)} takes the whole batch in parts that do.`;
  return new UserError(`${said} ${advice}`, { cause: error });
}

/** Pictures of a pass; null where two don't fit either. */
function batchThatFits(limitBytes: number, { model, rows, accumulate, precision, imageSize }: Step): number | null {
  const live = () => (memory() as ReturnType<typeof memory> & { liveBytes: number }).liveBytes;
  const heldBytes = live();
  const statistics = rememberStatistics(model);
  let pictureBytes: number;
  try {
    pictureBytes = whole(model, () => {
      const pictures = tensor(new Float32Array(PROBED * imageSize * imageSize * 3), [PROBED, imageSize, imageSize, 3]);
      const logits = model.forward(pictures, { tape: new Tape(), training: true, precision, rowKeys: [['probe', 0], ['probe', 1]] });
      const used = (live() - heldBytes) / PROBED;
      logits.dispose();
      return used;
    });
  } catch {
    return null;
  } finally {
    statistics.restore();
  }
  // Gradients come with the way back; Adam's two moments, where they aren't there yet, with the first step.
  const learning = model.parameters().filter(({ trainable }) => trainable).reduce((sum, { size }) => sum + 4 * size, 0);
  const fits = Math.floor((limitBytes - heldBytes - 3 * learning) / (pictureBytes * (1 + BACKWARD_SHARE)));
  return Math.min(Math.ceil(rows / accumulate) - 1, fits);
}
