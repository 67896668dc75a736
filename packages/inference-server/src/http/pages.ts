import { readFile } from 'node:fs/promises';
import type { Response } from 'express';
import { renderDocs } from './docs-page.js';
import type { Route, Shell } from './context.js';

const folder = new URL('../../page/', import.meta.url);

const file = (path: string, name: string, type: string): Route<Shell> => ({ method: 'get', path, right: null, answer: async (_request, response) => send(response, type, await readFile(new URL(name, folder))) });

function send(response: Response, type: string, body: Buffer | string): void {
  response.setHeader('Content-Type', `${type}; charset=utf-8`);
  response.setHeader('Cache-Control', 'no-cache');
  response.end(body);
}

/** What a browser opens: the page to try the model on, and the OpenAPI document, raw and to read. Nothing is loaded from elsewhere. */
export const pageRoutes: readonly Route<Shell>[] = [
  file('/', 'index.html', 'text/html'),
  file('/page.js', 'page.js', 'text/javascript'),
  file('/page.css', 'page.css', 'text/css'),
  { method: 'get', path: '/openapi.json', right: null, answer: (_request, response, { document }) => void response.json(document()) },
  { method: 'get', path: '/docs', right: null, answer: (_request, response, { document }) => send(response, 'text/html', renderDocs(document())) },
];
