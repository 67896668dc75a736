export { type RunningServer, type ServerOptions, type StopOptions, startServer } from './server.js';
export type { ModelSource } from './models/repository.js';
export type { EngineChoice, PrecisionChoice } from './compute/messages.js';
export type { Limits } from './http/limits.js';
export type { CanaryBounds } from './models/traffic.js';
export { type Right, type StoredKey, createKey } from './http/keys.js';
