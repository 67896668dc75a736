/** What we use of WebAssembly's JavaScript interface, whose types are otherwise in TypeScript's library of the DOM alone. */
interface Interface {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { readonly exports: object };
}

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  /** @throws {RangeError} when there isn't as much */
  grow(pages: number): number;
}

/** What a module without imports exports. */
export function instantiate(bytes: Uint8Array): object {
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: Interface }).WebAssembly;
  return new Instance(new Module(bytes)).exports;
}
