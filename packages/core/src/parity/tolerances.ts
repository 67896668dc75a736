/**
 * How far Chameleon may be from PyTorch 1.13 and torchvision 0.14 on the same numbers: one table for every parity test.
 * No limit can lie below PyTorch's distance from itself. `tools/reference/traces.py` with and without `--layout
 * channels_last`, and `compare.py` on the two, gave for resnet34 from a seed at 64, 96 and 128 px, largest of all: activations
 * and logits 2.3e-5, gradients 1.6e-2, statistics 1.0e-6, parameters after 20 steps 1.5e-2, their statistics 5.4e-3,
 * bfloat16 logits 3.8e-2 with the linear head and 1.3e-1 with the deep one.
 */
export interface Tolerance {
  /** What is compared. */
  what: string;
  /** How the error is measured; the largest over all tensors counts. */
  measure: string;
  limit: number;
  /** Why the limit lies where it does. */
  because: string;
}

const NORM = '|a - b| / |b|';

export const TOLERANCES = {
  activations: {
    what: 'activations of a stage, float32', measure: NORM, limit: 1e-4,
    because: 'Sums in another order differ by 1e-7 an operator, and random weights make that larger with every layer: PyTorch is 2e-5 from itself.',
  },
  logits: {
    what: 'logits, float32', measure: NORM, limit: 1e-4,
    because: 'As the activations that they come from.',
  },
  loss: {
    what: 'loss of a step, float32', measure: 'difference', limit: 1e-4,
    because: 'It changes at most by the largest difference of two logits, which are about 1.',
  },
  gradients: {
    what: 'gradient of a parameter, float32', measure: NORM, limit: 5e-2,
    because: 'One ReLU whose input is zero but for rounding falls on the other side and changes every gradient below it: PyTorch is 1.6e-2 from itself.',
  },
  silentGradients: {
    what: "a bias's gradient before BatchNorm", measure: "|a| / |its layer's weight's|", limit: 1e-5,
    because: 'BatchNorm takes the bias away again, so that its gradient is zero but for rounding, in PyTorch as here.',
  },
  statistics: {
    what: 'running statistics after a step', measure: NORM, limit: 1e-5,
    because: 'A tenth of a batch\'s mean and variance, which are sums of activations.',
  },
  losses: {
    what: 'losses of 20 steps, float32', measure: 'difference', limit: 2e-2,
    because: 'Adam divides a gradient by its own size, so that one which is zero but for rounding moves its weight by the whole rate either way.',
  },
  changes: {
    what: 'change of a parameter in 20 steps', measure: NORM, limit: 2e-1,
    because: 'Weights of small gradients go different ways; those whose first gradient is below 1e-6 are left out, and of the rest PyTorch is 6e-2 from itself.',
  },
  laterStatistics: {
    what: 'running statistics after 20 steps', measure: NORM, limit: 5e-2,
    because: 'They follow the activations of parameters that have gone slightly different ways.',
  },
  roundedLogits: {
    what: 'logits, bfloat16', measure: NORM, limit: 3e-1,
    because: 'bfloat16 keeps 8 bits, 34 layers of random weights add up 0.4 % each, and the deep head normalises over four rows: PyTorch is 1.3e-1 from itself. Autocast rounds the head too, which here stays float32.',
  },
  roundedLoss: {
    what: 'loss of a step, bfloat16', measure: 'difference', limit: 1e-1,
    because: 'As the logits that it comes from.',
  },
} as const satisfies Record<string, Tolerance>;

export type ParityRow = keyof typeof TOLERANCES;
