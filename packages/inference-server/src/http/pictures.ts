import express, { type Request, type RequestHandler, type Response } from 'express';
import multer from 'multer';
import type { UploadedPicture } from '../classify.js';
import { Problem } from '../problems.js';
import { imagesBodySchema } from '../schemas.js';
import type { Limits } from './limits.js';

const HOW = 'Send a form with `-F image=@picture.jpg`, the picture itself as image/*, or JSON {"images":[{"b64":"…"}]}.';

/** Reads requests' bodies within limits: each body's, and that of all bodies together. */
export class BodyReader {
  #bufferedBytes = 0;
  readonly #form: RequestHandler;
  readonly #raw: RequestHandler;
  readonly #json: RequestHandler;

  constructor(private readonly limits: Limits) {
    const { bodyBytes: limit, pictures } = limits;
    this.#form = multer({ storage: multer.memoryStorage(), limits: { fileSize: limit, files: pictures, fields: 0, parts: pictures, headerPairs: 32 } }).array('image');
    this.#raw = express.raw({ type: () => true, limit, inflate: false });
    this.#json = express.json({ type: () => true, limit, inflate: false });
  }

  /** The pictures of a form, a raw body or JSON. @throws {Problem} or what `problemOf` understands */
  async pictures(request: Request, response: Response): Promise<UploadedPicture[]> {
    const type = mediaType(request);
    if (type === 'multipart/form-data') return this.#fromForm(request, response);
    if (type.startsWith('image/') || type === 'application/octet-stream') return [{ bytes: await this.raw(request, response), name: 'The picture' }];
    if (type === 'application/json') return this.#fromJson(await this.json(request, response));
    throw new Problem('unsupported-type', `The body is of the type ${type || 'that nobody named'}. ${HOW}`);
  }

  /** A body as it is. */
  async raw(request: Request, response: Response): Promise<Buffer> {
    await this.#read(request, response, this.#raw);
    return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  }

  /** A body of JSON, unchecked. */
  async json(request: Request, response: Response): Promise<unknown> {
    const type = mediaType(request);
    if (type !== 'application/json') throw new Problem('unsupported-type', `The body is of the type ${type || 'that nobody named'}; here only application/json is read.`);
    await this.#read(request, response, this.#json);
    return request.body as unknown;
  }

  async #fromForm(request: Request, response: Response): Promise<UploadedPicture[]> {
    await this.#read(request, response, this.#form).catch((error: unknown) => {
      throw malformedForm(error);
    });
    const files = (request.files ?? []) as Express.Multer.File[];
    if (files.length === 0) throw new Problem('bad-request', `The form has no picture. ${HOW}`);
    return files.map(({ buffer, originalname }, i) => ({ bytes: buffer, name: `Picture ${i + 1} of the form (${printable(originalname)})` }));
  }

  #fromJson(body: unknown): UploadedPicture[] {
    const { images } = imagesBodySchema.parse(body);
    if (images.length > this.limits.pictures) throw new Problem('too-large', `The request brings ${images.length} pictures; ${this.limits.pictures} are allowed.`);
    return images.map(({ b64 }, i) => ({ bytes: decodeBase64(b64, `images.${i}.b64`), name: `images.${i}` }));
  }

  /** Runs a parser, and gives up on a body as soon as it is too large: what is still coming is thrown away. */
  async #read(request: Request, response: Response, parse: RequestHandler): Promise<void> {
    const { bodyBytes, bufferedBytes } = this.limits;
    if (Number(request.headers['content-length'] ?? 0) > bodyBytes) throw tooLarge(bodyBytes);
    let bytes = 0;
    response.once('close', () => {
      this.#bufferedBytes -= bytes;
      bytes = 0;
    });
    await new Promise<void>((resolve, reject) => {
      void parse(request, response, (error?: unknown) => (error ? reject(parse === this.#form ? formError(error) : (error as Error)) : resolve()));
      request.on('data', (chunk: Buffer) => {
        if (response.closed) return;
        bytes += chunk.length;
        this.#bufferedBytes += chunk.length;
        if (bytes > bodyBytes) reject(tooLarge(bodyBytes));
        else if (this.#bufferedBytes > bufferedBytes) reject(new Problem('queue-full', 'The server holds as many bytes of requests as it may. Send it again later.', { retryAfterSeconds: 1 }));
      });
    });
  }
}

/** busboy's own errors, for a form that is malformed, are plain ones; all others say what they are. */
function formError(error: unknown): Error {
  if (error instanceof Error && error.constructor === Error && !('code' in error)) return new Problem('bad-request', `The form can not be read (${error.message}).`, { cause: error });
  return error as Error;
}

/** What busboy says of a form that it can't read are plain errors. */
function malformedForm(error: unknown): unknown {
  if (error instanceof Problem || error instanceof multer.MulterError || !(error instanceof Error) || 'status' in error) return error;
  if (/^Request (aborted|closed)/.test(error.message)) return new Problem('client-closed', 'The client hung up while it was sending.', { cause: error });
  return new Problem('bad-request', `The form can not be read (${error.message}).`, { cause: error });
}

/** Bytes of strict base64, with its padding. */
export function decodeBase64(text: string, name: string): Buffer {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  if (text.length % 4 !== 0 || /[^A-Za-z0-9+/]/.test(text.slice(0, text.length - padding))) throw new Problem('bad-request', `${name} is not base64.`);
  return Buffer.from(text, 'base64');
}

/** In lower case, without parameters. */
export const mediaType = (request: Request): string => (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();

const tooLarge = (bodyBytes: number) => new Problem('too-large', `The body is over the limit of ${bodyBytes.toLocaleString('en')} bytes.`);

/** A file's name for a message: nothing that a terminal would obey, and short. */
const printable = (name: string): string => name.replace(/[^\p{L}\p{N} ._()-]/gu, '?').slice(0, 80);
