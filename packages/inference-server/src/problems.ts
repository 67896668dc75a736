import { PictureError, type PictureFault } from '@chameleon/data';
import { MulterError } from 'multer';
import { ZodError } from 'zod';

/** Every way in which a request can be refused, with its status. `type` of the problem document is `urn:chameleon:problem:<code>`. */
const PROBLEMS = {
  'bad-request': [400, 'The request can not be understood'],
  unauthenticated: [401, 'An API key is needed'],
  forbidden: [403, 'This key may not do that'],
  'not-found': [404, 'There is nothing at this address'],
  'unknown-model': [404, 'There is no such model'],
  'method-not-allowed': [405, 'This method is not offered here'],
  'too-slow': [408, 'The request did not arrive in time'],
  conflict: [409, 'The repository is in another state'],
  'too-large': [413, 'The request is too large'],
  'unsupported-type': [415, 'This type of content is not read'],
  'bad-picture': [422, 'A picture can not be decoded'],
  'load-failed': [422, 'The model can not be loaded'],
  'rate-limited': [429, 'Too many requests with this key'],
  'queue-full': [429, 'The queue is full'],
  'queue-timeout': [429, 'The request waited too long in the queue'],
  'client-closed': [499, 'The client has gone'],
  'header-too-large': [431, 'The header is too large'],
  internal: [500, 'The server failed'],
  loading: [503, 'The model is not loaded yet'],
  draining: [503, 'The server is stopping'],
  'compute-failed': [503, 'The computation was lost'],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemCode = keyof typeof PROBLEMS;

/** RFC 9457's document, as it is sent. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail: string;
  request_id: string;
}

/** A refusal: thrown anywhere on a request's road, sent as a problem document. */
export class Problem extends Error {
  override readonly name = 'Problem';
  /** s, for the header Retry-After. */
  readonly retryAfterSeconds: number | undefined;
  constructor(readonly code: ProblemCode, detail: string, options: { cause?: unknown; retryAfterSeconds?: number } = {}) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause });
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get status(): number {
    return PROBLEMS[this.code][0];
  }

  document(requestId: string): ProblemDocument {
    const [status, title] = PROBLEMS[this.code];
    return { type: `urn:chameleon:problem:${this.code}`, title, status, detail: this.message, request_id: requestId };
  }
}

const PICTURE_PROBLEMS: Record<PictureFault, ProblemCode> = { missing: 'bad-request', empty: 'bad-picture', 'unknown-type': 'unsupported-type', 'too-large': 'too-large', damaged: 'bad-picture', shard: 'bad-request' };

const UPLOAD_PROBLEMS: Partial<Record<string, readonly [ProblemCode, string]>> = {
  LIMIT_FILE_SIZE: ['too-large', 'A file in the form is over the limit of a request.'],
  LIMIT_FILE_COUNT: ['too-large', 'The form has more pictures than one request may bring.'],
  LIMIT_PART_COUNT: ['too-large', 'The form has more parts than one request may bring.'],
  LIMIT_FIELD_COUNT: ['bad-request', 'The form has a field that is no file. Settings stand in the address (?top_k=3), pictures in `-F image=@picture.jpg`.'],
  LIMIT_UNEXPECTED_FILE: ['bad-request', 'The form has a file that is not in a field called image. Send `-F image=@picture.jpg`.'],
};

/** What body-parser's errors mean here. */
const BODY_PROBLEMS: Partial<Record<string, readonly [ProblemCode, string]>> = {
  'entity.too.large': ['too-large', 'The body is over the limit of a request.'],
  'encoding.unsupported': ['unsupported-type', 'The body is compressed. Send it as it is, without Content-Encoding.'],
  'charset.unsupported': ['unsupported-type', 'The body is in a charset that is not read. Send UTF-8.'],
  'request.aborted': ['client-closed', 'The client hung up while it was sending.'],
};

/** The refusal that an error amounts to; what is nobody's refusal is a failure of the server's, and says nothing of its inside. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof PictureError) return new Problem(PICTURE_PROBLEMS[error.fault], error.message, { cause: error });
  if (error instanceof ZodError) return new Problem('bad-request', describeIssues(error), { cause: error });
  const { code, type, status, statusCode } = error as { code?: unknown; type?: unknown; status?: unknown; statusCode?: unknown };
  const known = error instanceof MulterError ? UPLOAD_PROBLEMS[error.code] : typeof type === 'string' ? BODY_PROBLEMS[type] : undefined;
  if (known) return new Problem(...known, { cause: error });
  if (error instanceof MulterError) return new Problem('bad-request', `The form can not be read (${error.message}).`, { cause: error });
  const said = status ?? statusCode;
  if (typeof said === 'number' && said >= 400 && said < 500) return new Problem(said === 413 ? 'too-large' : said === 415 ? 'unsupported-type' : 'bad-request', `The request can not be read (${(error as Error).message}).`, { cause: error });
  if (code === 'ECONNRESET' || code === 'ECONNABORTED') return new Problem('client-closed', 'The client hung up while it was sending.', { cause: error });
  return new Problem('internal', 'The server failed. The log has more under the request id; this is a mistake of ours.', { cause: error });
}

/** At most three of the places where a value doesn't fit its schema. */
function describeIssues({ issues }: ZodError): string {
  const told = issues.slice(0, 3).map(({ path, message }) => `${path.length > 0 ? path.map(String).join('.') : 'the request'}: ${message}`);
  return `${told.join('; ')}${issues.length > 3 ? `; and ${issues.length - 3} more` : ''}.`;
}

/** The media type of a problem document. The Open Inference Protocol has plain JSON for its errors, so there the same document goes as such. */
export const problemType = (path: string): 'application/json' | 'application/problem+json' => (path.startsWith('/v2') ? 'application/json' : 'application/problem+json');
