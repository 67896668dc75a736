import type { ModelCard } from '@chameleon/core';

/** px: the shorter side that a picture is resized to before the crop. */
export const resizedSide = (imageSize: number): number => Math.round((imageSize * 256) / 224);

/** What somebody needs beside an exported network to do exactly what training did; every value is a text, as ONNX and safetensors want. */
export function exportMetadata(card: ModelCard, layout: 'NCHW' | 'NHWC'): Record<string, string> {
  const { name, architecture, head, classes, imageSize, normalization, recipe, runId, validAccuracy, weightsSha256 } = card;
  return {
    name,
    classes: JSON.stringify(classes),
    image_size: String(imageSize),
    preprocessing: `RGB; shorter side resized to ${resizedSide(imageSize)} px (bilinear, antialiased), ${imageSize} x ${imageSize} px cut out of the middle; (x / 255 - mean) / std; ${layout}, float32`,
    resize_shorter_side: String(resizedSide(imageSize)),
    mean: JSON.stringify(normalization.mean),
    std: JSON.stringify(normalization.std),
    layout,
    architecture,
    head,
    recipe,
    run_id: runId,
    valid_accuracy: validAccuracy === null ? 'unknown' : String(validAccuracy),
    weights_sha256: weightsSha256,
  };
}
