import { randomUUID } from 'node:crypto';
import type { ModelCard } from '@chameleon/core';
import type { PictureResult, Reservation } from './batch-queue.js';
import type { DecodePool } from './decode/decode-pool.js';
import type { DecodedPicture } from './decode/messages.js';
import type { ServerMetrics } from './metrics.js';
import type { ModelRepository } from './models/repository.js';
import type { ServedVersion } from './models/served-version.js';
import { problemOf } from './problems.js';
import type { ClassifyAnswer, Prediction } from './schemas.js';

/** A picture's file as it was sent. */
export interface UploadedPicture {
  bytes: Uint8Array;
  /** What messages call it. */
  name: string;
}

export interface ClassifyRequest {
  id: string;
  model: string | undefined;
  version: string | undefined;
  topK: number;
  /** Whose turn it takes in the queue. */
  key: string;
  timeoutMs: number;
  signal: AbortSignal;
}

export interface Services {
  repository: ModelRepository;
  decoder: DecodePool;
  metrics: ServerMetrics;
  maxPixels: number;
}

/** The road of a request: decode → batch → predict → encode. @throws {Problem | PictureError} */
export async function classify(pictures: readonly UploadedPicture[], request: ClassifyRequest, services: Services): Promise<ClassifyAnswer> {
  const clock = new Clock();
  const served = services.repository.resolve(request.model, request.version);
  return observed(served, services, async () => {
    const places = served.queue.reserve(pictures.length, request);
    try {
      const decoded = await clock.time('decode', () => decodeAll(pictures, served.card, places.signal, services));
      const results = await predictAll(decoded, places);
      shadow(decoded, served, services);
      const predictions = clock.time('encode', () => decoded.map((picture, i) => encode(picture, results[i]!.probabilities, served.card, request.topK)));
      services.metrics.phase({ model: served.name, version: served.version, phase: 'encode' }, clock.encodeMs / 1000, request.id);
      return { model: { name: served.name, version: served.version }, predictions, timings_ms: timings(clock, results), request_id: request.id };
    } finally {
      places.release();
    }
  }, request.id);
}

export function decodeAll(pictures: readonly UploadedPicture[], { imageSize, normalization }: ModelCard, signal: AbortSignal, { decoder, maxPixels }: Services): Promise<DecodedPicture[]> {
  return Promise.all(pictures.map(({ bytes, name }) => decoder.decode({ bytes, name, imageSize, normalization, maxPixels }, signal)));
}

const predictAll = (decoded: readonly DecodedPicture[], places: Reservation): Promise<PictureResult[]> => Promise.all(decoded.map(({ pixels }, i) => places.predict(i, pixels)));

export function encode({ width, height }: DecodedPicture, probabilities: Float32Array, { classes }: ModelCard, topK: number): Prediction {
  const ranked = classes.map((label, i) => ({ label, probability: Math.min(1, probabilities[i]!) })).sort((a, b) => b.probability - a.probability);
  return { classes: ranked.slice(0, topK), width, height };
}

/** Has the canary compute the same pictures, where it is a shadow: nobody waits for it, and its queue may refuse. */
function shadow(decoded: readonly DecodedPicture[], served: ServedVersion, services: Services): void {
  const other = services.repository.shadowOf(served);
  if (!other) return;
  const request = { key: 'shadow', timeoutMs: 10_000, signal: AbortSignal.timeout(10_000) };
  void observed(other, services, async () => {
    const places = other.queue.reserve(decoded.length, request);
    try {
      const results = await predictAll(decoded, places);
      return { predictions: decoded.map((picture, i) => encode(picture, results[i]!.probabilities, other.card, 1)), timings_ms: null };
    } finally {
      places.release();
    }
  }, randomUUID()).catch(() => undefined);
}

type Timings = ClassifyAnswer['timings_ms'];

/** Counts what came out, for the metrics and for the judgement over a canary. */
export async function observed<Answer extends { predictions: readonly Pick<Prediction, 'classes'>[]; timings_ms: Timings | null }>(served: ServedVersion, { repository, metrics }: Services, work: () => Promise<Answer>, requestId: string): Promise<Answer> {
  const labels = { model: served.name, version: served.version };
  try {
    const answer = await work();
    const classes = answer.predictions.map((prediction) => prediction.classes[0]!.label);
    for (const label of classes) metrics.predicted({ ...labels, class: label });
    for (const phase of ['decode', 'queue', 'compute'] as const) if (answer.timings_ms) metrics.phase({ ...labels, phase }, answer.timings_ms[phase] / 1000, requestId);
    repository.observe(served, 'answered', classes);
    return answer;
  } catch (error) {
    if (problemOf(error).status >= 500) repository.observe(served, 'failed', []);
    throw error;
  }
}

type Stage = 'decode' | 'encode';

/** A request's stopwatch. */
export class Clock {
  readonly #startMs = performance.now();
  readonly #stages: Partial<Record<Stage, number>> = {};

  /** Runs a stage and remembers how long it took; of one that waits, until it is done. */
  time<Result>(stage: Stage, work: () => Result): Result {
    const startMs = performance.now();
    const note = () => {
      this.#stages[stage] = performance.now() - startMs;
    };
    const result = work();
    if (result instanceof Promise) result.then(note, note);
    else note();
    return result;
  }

  get decodeMs(): number {
    return this.#stages.decode ?? 0;
  }

  get encodeMs(): number {
    return this.#stages.encode ?? 0;
  }

  get totalMs(): number {
    return performance.now() - this.#startMs;
  }
}

/** The longest of the pictures' waits and batches: what this request waited for. */
export function timings(clock: Clock, results: readonly Pick<PictureResult, 'queueMs' | 'computeMs'>[]): Timings {
  const round = (ms: number) => Math.round(ms * 1000) / 1000;
  return {
    decode: round(clock.decodeMs),
    queue: round(Math.max(...results.map((result) => result.queueMs))),
    compute: round(Math.max(...results.map((result) => result.computeMs))),
    total: round(clock.totalMs),
  };
}
