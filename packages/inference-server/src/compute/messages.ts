import type { ModelCard, ServedPrecision } from '@chameleon/core';

/** A TensorFlow.js backend by the module that registers it; or ONNX Runtime (`onnxruntime`) by its own. */
export interface EngineChoice {
  /** A module's name or URL: importing it registers the backend. Where it exports them, `setThreads` is called with `threads`, then `bindThreads`, and `emptyCache` once the model is let go. */
  module: string;
  /** What TF.js calls the backend. */
  backend: string;
  /** The TensorFlow.js backend of explanations, for an engine that has no gradients. */
  gradients?: EngineChoice;
}

export type PrecisionChoice = ServedPrecision | 'auto';

/** What a compute thread is started with. */
export interface ComputeSetup {
  engine: EngineChoice;
  /** Holds model.json and model.safetensors. */
  folder: string;
  precision: PrecisionChoice;
  /** Threads that an operator may use. */
  threads: number;
  /** Batch sizes that are computed once before the model counts as ready. */
  warmUpSizes: readonly number[];
}

/** A heat map, row by row from the top; 0 … 1. */
export interface HeatMap {
  values: Float32Array;
  height: number;
  width: number;
}

export type ComputeRequest =
  | { kind: 'predict'; id: number; pictures: Float32Array[] }
  /** `classIndex` null: the most probable class. */
  | { kind: 'explain'; id: number; picture: Float32Array; classIndex: number | null }
  | { kind: 'stop' };

export type ComputeReply =
  | { kind: 'ready'; card: ModelCard; precision: ServedPrecision }
  | { kind: 'refused'; message: string }
  | { kind: 'predicted'; id: number; probabilities: Float32Array; computeMs: number }
  | { kind: 'explained'; id: number; probabilities: Float32Array; classIndex: number; heat: HeatMap; computeMs: number }
  | { kind: 'failed'; id: number; message: string };
