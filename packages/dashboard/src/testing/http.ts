import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A server on this machine that answers as a test says; it ends with the block. */
export async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void, port = 0): Promise<{ url: string; port: number } & AsyncDisposable> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => void server.listen(port, '127.0.0.1', resolve));
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`, port: bound,
    [Symbol.asyncDispose]: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}

/** A target whose metrics are the text that `metrics` gives. */
export const serveMetrics = (metrics: () => string, port = 0) => serve((_request, response) => response.setHeader('content-type', 'text/plain').end(metrics()), port);
