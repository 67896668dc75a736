import { z } from 'zod';
import { architectureNames } from './models/architecture.js';

const channels = z.tuple([z.number(), z.number(), z.number()]);

/** `model/model.json`: what somebody needs beside the weights, so that serving does exactly what training did. */
export const modelCardSchema = z.object({
  formatVersion: z.literal(1),
  name: z.string().min(1),
  architecture: z.enum(architectureNames as [string, ...string[]]),
  head: z.enum(['linear', 'deep']),
  /** In the order of the logits. */
  classes: z.array(z.string()).min(2),
  /** px; pictures are resized by their shorter side to round(imageSize * 256 / 224), then cropped in the middle. */
  imageSize: z.number().int().positive(),
  normalization: z.object({ mean: channels, std: channels }),
  precision: z.enum(['float32', 'bfloat16']),
  recipe: z.string(),
  /** Of the validation pictures, the part that it classified rightly. */
  validAccuracy: z.number().min(0).max(1).nullable(),
  runId: z.string(),
  createdAt: z.iso.datetime(),
  /** Of model.safetensors, in hexadecimal. */
  weightsSha256: z.string().regex(/^[0-9a-f]{64}$/),
});

export type ModelCard = z.infer<typeof modelCardSchema>;
