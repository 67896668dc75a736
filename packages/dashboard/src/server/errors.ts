/** A mistake of whoever starts the dashboard: no stack trace. The message says what happened, where, and what to do. */
export class DashboardError extends Error {
  override readonly name = 'DashboardError';
  /** 1: it failed; 2: the call was wrong. */
  readonly exitCode: 1 | 2;
  constructor(message: string, options: { cause?: unknown; exitCode?: 1 | 2 } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}

const TITLES = {
  400: 'The request can not be understood',
  401: 'A password is needed',
  403: 'This is not allowed',
  404: 'There is nothing here',
  409: 'This can not be done now',
  429: 'Too many attempts',
  500: 'The dashboard failed',
  502: 'The metrics can not be read',
  503: 'There is no room',
} as const;

/** A request that is refused, as RFC 9457 says it. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  constructor(readonly status: keyof typeof TITLES, detail: string, options?: { cause: unknown }) {
    super(detail, options);
  }

  document(): { type: string; title: string; status: number; detail: string } {
    return { type: 'about:blank', title: TITLES[this.status], status: this.status, detail: this.message };
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
