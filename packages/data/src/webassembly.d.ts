/** What we use of WebAssembly's JavaScript interface, whose types are otherwise in TypeScript's library of the DOM alone. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Instance {
    constructor(module: Module);
    readonly exports: Record<string, unknown>;
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
    /** @throws {RangeError} when there isn't as much */
    grow(pages: number): number;
  }
}
