import { Clock, type ClassifyRequest, type Services, decodeAll, encode, observed, timings } from '../classify.js';
import { indexOfLargest } from '../compute/largest.js';
import type { DecodedPicture } from '../decode/messages.js';
import type { ServedVersion } from '../models/served-version.js';
import { Problem } from '../problems.js';
import type { InferAnswer } from './schemas.js';
import { type OutputTensor, type ParsedInfer, encodeOutputs, readEncodedPictures, readPixels } from './tensors.js';

/** The inputs that a model takes, one of the two: encoded pictures, or preprocessed ones. */
export const INPUTS = { encoded: 'image', pixels: 'pixels' } as const;
export const OUTPUTS = { probabilities: 'probabilities', label: 'label' } as const;

/** A request of the Open Inference Protocol: decode (unless pixels came) → batch → predict → encode. */
export async function infer({ request: body, binary }: ParsedInfer, request: Omit<ClassifyRequest, 'topK'>, maxPictures: number, services: Services): Promise<{ answer: InferAnswer; binary: Buffer[] }> {
  const clock = new Clock();
  const served = services.repository.resolve(request.model, request.version);
  const input = body.inputs[0]!;
  if (body.inputs.length > 1 || (input.name !== INPUTS.encoded && input.name !== INPUTS.pixels)) {
    throw new Problem('bad-request', `Give one input: ${INPUTS.encoded} (BYTES, files of pictures) or ${INPUTS.pixels} (FP32, preprocessed).`);
  }
  const read = input.name === INPUTS.encoded
    ? { kind: INPUTS.encoded, pictures: readEncodedPictures(input, binary.get(input), maxPictures) }
    : { kind: INPUTS.pixels, pictures: readPixels(input, binary.get(input), served.card.imageSize, maxPictures) };
  // Outputs are named before anything is computed, so that a mistake in them costs nothing.
  encodeOutputs(outputTensors(served, []), body);
  const { results } = await observed(served, services, async () => {
    const places = served.queue.reserve(read.pictures.length, request);
    try {
      const decoded = read.kind === INPUTS.encoded ? await clock.time('decode', () => decodeAll(read.pictures, served.card, places.signal, services)) : read.pictures.map(asPicture);
      const results = await Promise.all(decoded.map(({ pixels }, i) => places.predict(i, pixels)));
      return { results, predictions: decoded.map((picture, i) => encode(picture, results[i]!.probabilities, served.card, 1)), timings_ms: timings(clock, results) };
    } finally {
      places.release();
    }
  }, request.id);
  const encoded = encodeOutputs(outputTensors(served, results.map(({ probabilities }) => probabilities)), body);
  return { answer: { model_name: served.name, model_version: served.version, id: body.id ?? request.id, outputs: encoded.outputs }, binary: encoded.binary };
}

const asPicture = (pixels: Float32Array): DecodedPicture => ({ pixels, width: 0, height: 0 });

function outputTensors({ card: { classes } }: ServedVersion, rows: readonly Float32Array[]): OutputTensor[] {
  const probabilities = new Float32Array(rows.length * classes.length);
  rows.forEach((row, i) => probabilities.set(row, i * classes.length));
  return [
    { name: OUTPUTS.probabilities, datatype: 'FP32', shape: [rows.length, classes.length], values: probabilities },
    { name: OUTPUTS.label, datatype: 'BYTES', shape: [rows.length], values: rows.map((row) => classes[indexOfLargest(row)]!) },
  ];
}
