import { z } from '../zod-openapi.js';

/** The Open Inference Protocol v2's bodies (KServe's `open_inference_rest.yaml`, with Triton's binary tensor extension). */

const parameters = z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]));

export const inferRequestSchema = z.object({
  id: z.string().max(200).optional(),
  parameters: parameters.optional(),
  inputs: z.array(z.object({
    name: z.string(),
    shape: z.array(z.number().int().nonnegative()).min(1).max(8),
    datatype: z.string(),
    parameters: parameters.optional(),
    data: z.unknown().optional().meta({ description: 'Values in row-major order, flat or nested; left out where the tensor follows in binary.' }),
  })).min(1).max(8),
  outputs: z.array(z.object({ name: z.string(), parameters: parameters.optional() })).max(8).optional(),
});
export type InferRequest = z.infer<typeof inferRequestSchema>;
export type InferInput = InferRequest['inputs'][number];

export const inferAnswerSchema = z.strictObject({
  model_name: z.string(),
  model_version: z.string(),
  id: z.string(),
  outputs: z.array(z.strictObject({ name: z.string(), shape: z.array(z.number().int()), datatype: z.string(), parameters: parameters.optional(), data: z.array(z.union([z.number(), z.string()])).optional() })),
});
export type InferAnswer = z.infer<typeof inferAnswerSchema>;

export const serverMetadataSchema = z.strictObject({ name: z.string(), version: z.string(), extensions: z.array(z.string()) });

const tensorMetadata = z.strictObject({ name: z.string(), datatype: z.string(), shape: z.array(z.number().int()) });
export const modelMetadataSchema = z.strictObject({ name: z.string(), versions: z.array(z.string()), platform: z.string(), inputs: z.array(tensorMetadata), outputs: z.array(tensorMetadata) });
