import { z } from './zod-openapi.js';

/** What requests bring and answers give: the same schemas check the requests and make the OpenAPI document. */

const modelQuery = {
  model: z.string().min(1).max(100).optional().meta({ description: 'The model; not needed where only one is served.' }),
  version: z.string().min(1).max(100).optional().meta({ description: 'A version, `stable` or `canary`; by default the labels decide.' }),
  top_k: z.coerce.number().int().min(1).max(1000).default(5).meta({ description: 'How many classes to give, most probable first.' }),
};
export const classifyQuerySchema = z.strictObject(modelQuery);
export const explainQuerySchema = z.strictObject({ ...modelQuery, label: z.string().min(1).optional().meta({ description: 'The class to explain; by default the most probable one.' }) });

export const imagesBodySchema = z.strictObject({
  images: z.array(z.strictObject({ b64: z.string().min(1).meta({ description: 'A JPEG, PNG, WebP, AVIF or GIF file in base64.' }) })).min(1),
});

const probability = z.number().min(0).max(1);
const ms = z.number().nonnegative();
export const predictionSchema = z.strictObject({
  classes: z.array(z.strictObject({ label: z.string(), probability })),
  width: z.number().int().positive().meta({ description: 'px' }),
  height: z.number().int().positive().meta({ description: 'px' }),
});
const answerFields = {
  model: z.strictObject({ name: z.string(), version: z.string() }),
  timings_ms: z.strictObject({ decode: ms, queue: ms, compute: ms, total: ms }),
  request_id: z.string(),
};
export const classifyAnswerSchema = z.strictObject({ ...answerFields, predictions: z.array(predictionSchema) });

const heatMapSchema = z.strictObject({
  label: z.string().meta({ description: 'The class that is explained.' }),
  png_base64: z.string().meta({ description: 'A PNG with transparency, to lay over the region.' }),
  region: z.strictObject({ left: z.number(), top: z.number(), width: z.number(), height: z.number() }).meta({ description: 'The part of the picture that the model saw, px.' }),
});
export const explainAnswerSchema = z.strictObject({ ...answerFields, predictions: z.array(predictionSchema.extend({ heatmap: heatMapSchema })) });

const labelled = z.string().nullable();
export const versionSchema = z.strictObject({
  version: z.string(),
  status: z.enum(['loading', 'ready', 'restarting', 'failed', 'stopped']),
  labels: z.array(z.enum(['stable', 'canary'])),
  reason: z.string().nullable().meta({ description: 'Why it failed.' }),
  backend: labelled.meta({ description: 'What computes it: libtorch, onnxruntime, wasm …' }),
  architecture: labelled,
  classes: z.array(z.string()).nullable(),
  image_size: z.number().int().nullable(),
  precision: labelled,
  valid_accuracy: z.number().nullable(),
  run_id: labelled,
});
export const modelSchema = z.strictObject({
  name: z.string(),
  versions: z.array(versionSchema),
  labels: z.strictObject({ stable: labelled, canary: z.strictObject({ version: z.string(), traffic_share: z.number(), shadow: z.boolean() }).nullable() }),
  rollback: z.strictObject({ version: z.string(), reason: z.string(), at: z.iso.datetime() }).nullable().meta({ description: 'The last canary that the server took back by itself.' }),
});
export const modelsAnswerSchema = z.strictObject({ models: z.array(modelSchema) });

export const addVersionBodySchema = z.strictObject({
  path: z.string().min(1).max(1000).meta({ description: 'A run\'s directory or its model folder, relative to the server\'s folder of models.' }),
  version: z.string().min(1).max(100).optional().meta({ description: 'By default the next number.' }),
});
export const stableBodySchema = z.strictObject({ version: z.string().min(1).max(100) });
export const canaryBodySchema = z.strictObject({
  version: z.string().min(1).max(100).nullable().meta({ description: 'null ends the canary.' }),
  traffic_share: z.number().min(0).max(1).default(0.1).meta({ description: 'The part of the requests that it answers; with `shadow`, computes unseen.' }),
  shadow: z.boolean().default(false).meta({ description: 'Compute the same pictures and compare, without answering.' }),
});

export const problemSchema = z.strictObject({ type: z.string(), title: z.string(), status: z.number().int(), detail: z.string(), request_id: z.string(), error: z.string().optional().meta({ description: 'The detail again, where the Open Inference Protocol is spoken.' }) });

export type ClassifyAnswer = z.infer<typeof classifyAnswerSchema>;
export type ExplainAnswer = z.infer<typeof explainAnswerSchema>;
export type Prediction = z.infer<typeof predictionSchema>;
