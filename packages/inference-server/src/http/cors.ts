import type { NextFunction, Request, Response } from 'express';

const HEADERS = 'Authorization, Content-Type, X-API-Key, X-Request-Id, Inference-Header-Content-Length';

/** `https://app.example.org`, or `*`: what a browser sends as Origin has no path. */
export const isOrigin = (text: string): boolean => text === '*' || (URL.canParse(text) && new URL(text).origin === text);

/**
 * Lets pages of other origins read the answers (https://fetch.spec.whatwg.org/#http-cors-protocol). Only asking is opened to them: what
 * changes the server is never given these headers.
 * @param origins as browsers send them (`https://app.example.org`); `*` stands for all
 */
export function crossOrigin(origins: readonly string[]) {
  const all = origins.includes('*');
  return (request: Request, response: Response, next: NextFunction): void => {
    const { origin } = request.headers;
    if (!all) response.vary('Origin');
    if (origin !== undefined && (all || origins.includes(origin))) {
      response.setHeader('Access-Control-Allow-Origin', all ? '*' : origin);
      response.setHeader('Access-Control-Expose-Headers', 'X-Request-Id, Retry-After, Inference-Header-Content-Length');
      if (request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
        response.setHeader('Access-Control-Allow-Methods', 'GET, POST');
        response.setHeader('Access-Control-Allow-Headers', HEADERS);
        response.setHeader('Access-Control-Max-Age', '600');
        response.status(204).end();
        return;
      }
    }
    next();
  };
}
