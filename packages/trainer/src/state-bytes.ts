import type { CheckpointBytes } from './checkpoint.js';

/** A state as it travels between workers: the lengths of model, optimizer and state, then the three. */
export function packState({ model, optimizer, state }: CheckpointBytes): Uint8Array {
  const text = new TextEncoder().encode(state);
  const packed = new Uint8Array(12 + model.length + optimizer.length + text.length);
  new DataView(packed.buffer).setUint32(0, model.length);
  new DataView(packed.buffer).setUint32(4, optimizer.length);
  new DataView(packed.buffer).setUint32(8, text.length);
  packed.set(model, 12);
  packed.set(optimizer, 12 + model.length);
  packed.set(text, 12 + model.length + optimizer.length);
  return packed;
}

/** @throws when the bytes are not as many as they say */
export function unpackState(packed: Uint8Array): CheckpointBytes {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const [model, optimizer, text] = [0, 4, 8].map((at) => view.getUint32(at)) as [number, number, number];
  if (packed.length !== 12 + model + optimizer + text) throw new Error(`a state of ${packed.length} bytes came, instead of ${12 + model + optimizer + text}`);
  return {
    model: packed.subarray(12, 12 + model),
    optimizer: packed.subarray(12 + model, 12 + model + optimizer),
    state: new TextDecoder().decode(packed.subarray(12 + model + optimizer)),
  };
}
