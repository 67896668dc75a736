/** What is known of memory that could not be had, in bytes. Of a GPU's, older libtorch tells less. */
export interface MemoryFigures {
  /** What an operator asked for. */
  wantedBytes?: number;
  /** In tensors at that time. */
  liveBytes?: number;
  /** What tensors may take in all: the least of what the device or machine, its control groups, `ulimit -v` and `limitMemory` leave. */
  limitBytes?: number;
}

/**
 * Memory that could not be had. What the operator had taken is let go: the process, and every tensor that there was before, can be used
 * further. Its `code` is ERR_OUT_OF_MEMORY.
 */
export class OutOfMemoryError extends Error implements MemoryFigures {
  override readonly name = 'OutOfMemoryError';
  readonly code = 'ERR_OUT_OF_MEMORY';
  readonly wantedBytes?: number;
  readonly liveBytes?: number;
  readonly limitBytes?: number;

  constructor(message: string, { wantedBytes, liveBytes, limitBytes }: MemoryFigures, options: ErrorOptions) {
    super(message, options);
    Object.assign(this, { wantedBytes, liveBytes, limitBytes });
  }
}

/** An error of the addon's with what was being done before its message. */
export function errorOf(what: string, error: unknown): Error {
  const message = `${what}: ${error instanceof Error ? error.message : String(error)}`;
  return isOutOfMemory(error) ? new OutOfMemoryError(message, error, { cause: error }) : new Error(message, { cause: error });
}

const isOutOfMemory = (error: unknown): error is Error & MemoryFigures => error instanceof Error && (error as NodeJS.ErrnoException).code === 'ERR_OUT_OF_MEMORY';
