import type { Tensor } from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { BodyOperation } from './body.js';
import { PICTURES } from './network.js';

/**
 * How a body's values fit into bytes. Filters are scaled for each output channel by their largest weight; a value has one scale for all of
 * it, from the threshold that loses least on pictures seen in training: above it values are cut off.
 */
export type ActivationThresholds = Readonly<Record<string, number>>;

/**
 * `model/int8.json`: thresholds, and whose they are.
 */
export const calibrationSchema = z.object({
  formatVersion: z.literal(1),
  /** Of the model.safetensors that was calibrated, in hexadecimal. */
  weightsSha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** By the value's name, in its own unit. */
  thresholds: z.record(z.string(), z.number().positive()),
  /** How many training pictures were looked at. */
  pictureCount: z.number().int().positive(),
  /** On the validation pictures, when it was calibrated; null where there were none. */
  accuracy: z.object({ pictureCount: z.number().int().positive(), float32: z.number().min(0).max(1), int8: z.number().min(0).max(1), agreement: z.number().min(0).max(1) }).nullable(),
});
export type Calibration = z.infer<typeof calibrationSchema>;

/** The first convolution, and what the last one gives, stay as they are: an error there would cost most, and they are cheap. */
export const isQuantized = (operation: BodyOperation, operations: readonly BodyOperation[]): boolean => operation.input !== PICTURES && operation !== operations.at(-1);

/** What ReLU made has no negative values: all 256 are for the others. */
export function isSigned(operation: BodyOperation, operations: readonly BodyOperation[]): boolean {
  if (operation.kind === 'convolution') return !operation.relu;
  const maker = operations.find(({ name }) => name === operation.input);
  return maker === undefined || isSigned(maker, operations);
}

const levelsOf = (signed: boolean): number => (signed ? 127 : 255);

/** What one step of the byte stands for. */
export function scaleOf(operation: BodyOperation, operations: readonly BodyOperation[], thresholds: ActivationThresholds): number {
  const threshold = thresholds[operation.name];
  if (threshold === undefined) throw new Error(`the calibration does not know ${operation.name}`);
  return threshold / levelsOf(isSigned(operation, operations));
}

const BINS = 2048;

/** How often absolute values occur, in bins whose width doubles as larger ones come. */
export class Histogram {
  readonly counts = new Float64Array(BINS);
  /** Of a bin; 0 before anything but zeros has been seen. */
  width = 0;

  add(values: Float32Array): void {
    let largest = 0;
    for (const value of values) largest = Math.max(largest, Math.abs(value));
    if (largest === 0) return;
    if (this.width === 0) this.width = (1.001 * largest) / BINS;
    while (largest >= this.width * BINS) this.#widen();
    const perUnit = 1 / this.width;
    for (const value of values) if (value !== 0) this.counts[Math.min(BINS - 1, Math.floor(Math.abs(value) * perUnit))]!++;
  }

  #widen(): void {
    for (let i = 0; i < BINS / 2; i++) this.counts[i] = this.counts[2 * i]! + this.counts[2 * i + 1]!;
    this.counts.fill(0, BINS / 2);
    this.width *= 2;
  }
}

/**
 * The threshold with the least expected squared error: below it a value is rounded (a step squared by 12), above it cut off.
 * @param levels steps from 0 to the threshold
 */
export function thresholdOf({ counts, width }: Histogram, levels: number): number {
  if (width === 0) return 1;
  let best = { error: Infinity, threshold: width * BINS };
  for (let kept = 64; kept <= BINS; kept += 8) {
    const threshold = kept * width, rounding = (threshold / levels) ** 2 / 12;
    let error = 0;
    for (let i = 0; i < BINS; i++) {
      if (counts[i]! > 0) error += counts[i]! * (i < kept ? rounding : ((i + 0.5) * width - threshold) ** 2);
    }
    if (error < best.error) best = { error, threshold };
  }
  return best.threshold;
}

/** What was seen of each value, by name. */
export class ActivationWatch {
  readonly #histograms = new Map<string, Histogram>();

  constructor(private readonly operations: readonly BodyOperation[]) {}

  see(operation: BodyOperation, value: Tensor): void {
    if (!this.operations.some(({ name }) => name === operation.name)) throw new Error(`${operation.name} is of another network`);
    let histogram = this.#histograms.get(operation.name);
    if (!histogram) this.#histograms.set(operation.name, (histogram = new Histogram()));
    histogram.add(value.dataSync() as Float32Array);
  }

  thresholds(): ActivationThresholds {
    return Object.fromEntries(this.operations.filter((operation) => isQuantized(operation, this.operations)).map((operation) => [operation.name, thresholdOf(this.#histograms.get(operation.name) ?? new Histogram(), levelsOf(isSigned(operation, this.operations)))]));
  }
}
