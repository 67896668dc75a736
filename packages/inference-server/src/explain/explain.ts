import { type ModelCard, nearest } from '@chameleon/core';
import { centerCropBox, resizedSize } from '@chameleon/data';
import { Clock, type ClassifyRequest, type Services, type UploadedPicture, decodeAll, encode, observed, timings } from '../classify.js';
import type { Explanation } from '../compute/compute-thread.js';
import type { DecodedPicture } from '../decode/messages.js';
import type { ServedVersion } from '../models/served-version.js';
import { Problem } from '../problems.js';
import type { ExplainAnswer } from '../schemas.js';
import { heatMapPng } from './heat-map-png.js';

export interface ExplainRequest extends ClassifyRequest {
  /** The class to explain; undefined: the most probable one. */
  label: string | undefined;
}

type Heated = ExplainAnswer['predictions'][number];

/** As `classify`, one picture after another with the gradient through layer4: decode → predict and explain → encode. */
export async function explain(pictures: readonly UploadedPicture[], request: ExplainRequest, services: Services): Promise<ExplainAnswer> {
  const clock = new Clock();
  const served = services.repository.resolve(request.model, request.version);
  const classIndex = request.label === undefined ? null : indexOfClass(request.label, served.card);
  return observed(served, services, async () => {
    const places = served.queue.reserve(pictures.length, request);
    try {
      const decoded = await clock.time('decode', () => decodeAll(pictures, served.card, places.signal, services));
      const explained = await explainAll(decoded, classIndex, places.signal, served);
      const predictions = await clock.time('encode', () => Promise.all(decoded.map((picture, i) => encodeHeated(picture, explained[i]!, served.card, request.topK))));
      services.metrics.phase({ model: served.name, version: served.version, phase: 'encode' }, clock.encodeMs / 1000, request.id);
      return { model: { name: served.name, version: served.version }, predictions, timings_ms: timings(clock, explained), request_id: request.id };
    } finally {
      places.release();
    }
  }, request.id);
}

/** One after another, so that other requests' batches come between. */
async function explainAll(decoded: readonly DecodedPicture[], classIndex: number | null, signal: AbortSignal, served: ServedVersion): Promise<(Explanation & { queueMs: number })[]> {
  const explained: (Explanation & { queueMs: number })[] = [];
  for (const { pixels } of decoded) {
    signal.throwIfAborted();
    const askedMs = performance.now();
    const explanation = await served.explain(pixels, classIndex);
    explained.push({ ...explanation, queueMs: Math.max(0, performance.now() - askedMs - explanation.computeMs) });
  }
  return explained;
}

async function encodeHeated(picture: DecodedPicture, { probabilities, classIndex, heat }: Explanation, card: ModelCard, topK: number): Promise<Heated> {
  const png = await heatMapPng(heat, card.imageSize);
  return { ...encode(picture, probabilities, card, topK), heatmap: { label: card.classes[classIndex]!, png_base64: png.toString('base64'), region: seenRegion(picture, card.imageSize) } };
}

/** The part of a picture that the centre crop leaves, in the picture's own pixels. */
export function seenRegion({ width, height }: { width: number; height: number }, imageSize: number): { left: number; top: number; width: number; height: number } {
  const resized = resizedSize(width, height, Math.round((imageSize * 256) / 224));
  const crop = centerCropBox(resized.width, resized.height, imageSize);
  const [x, y] = [width / resized.width, height / resized.height];
  return { left: crop.left * x, top: crop.top * y, width: crop.width * x, height: crop.height * y };
}

function indexOfClass(label: string, { classes }: ModelCard): number {
  const index = classes.indexOf(label);
  if (index >= 0) return index;
  const near = nearest(label, classes);
  throw new Problem('bad-request', `The model has no class ${label.slice(0, 100)}. ${near === null ? `There are ${classes.slice(0, 10).join(', ')}${classes.length > 10 ? ' …' : ''}.` : `Did you mean ${near}?`}`);
}
