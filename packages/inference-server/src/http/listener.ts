import { readFile } from 'node:fs/promises';
import { type RequestListener, type Server, createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { UserError } from '@chameleon/core';
import { Problem } from '../problems.js';
import type { Limits } from './limits.js';

/** Files in PEM. */
export interface TlsFiles {
  certFile: string;
  keyFile: string;
}

/** An address that can be asked over the network, or the path of a socket that only processes of this machine reach. */
export type Address = { host: string; port: number } | { path: string };

/** @throws UserError when the files of TLS can't be read or the address is taken */
export async function listenFor(app: RequestListener, address: Address, limits: Limits, tls?: TlsFiles): Promise<Server> {
  const server = await createHttpServer(tls, limits);
  server.on('request', app);
  server.on('clientError', refuseBrokenRequest);
  await listen(server, address);
  return server;
}

export interface DrainOptions {
  /** ms for what is under way to be answered. */
  deadlineMs: number;
  /** Refuses what is under way; called at the deadline, if it isn't all answered by then. */
  onLate: () => void;
}

/** Takes no new connections, and waits until every request that was begun is answered. */
export async function drain(server: Server, { deadlineMs, onLate }: DrainOptions): Promise<void> {
  const late = setTimeout(() => {
    onLate();
    setTimeout(() => server.closeAllConnections(), 500).unref();
  }, deadlineMs);
  const idle = setInterval(() => server.closeIdleConnections(), 250);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearTimeout(late);
  clearInterval(idle);
}

async function createHttpServer(tls: TlsFiles | undefined, limits: Limits): Promise<Server> {
  const settings = { requestTimeout: limits.receiveMs, headersTimeout: Math.min(10_000, limits.receiveMs), keepAliveTimeout: 65_000, maxHeaderSize: 16_384, connectionsCheckingInterval: Math.min(1_000, limits.receiveMs) };
  const server = tls ? createTlsServer({ ...settings, cert: await readPem(tls.certFile), key: await readPem(tls.keyFile) }) : createServer(settings);
  server.maxConnections = limits.connections;
  return server;
}

async function readPem(path: string): Promise<Buffer> {
  return readFile(path).catch((error: unknown) => {
    throw new UserError(`${path} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { cause: error, exitCode: 2 });
  });
}

function listen(server: Server, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another program listens there already' : error.code === 'EACCES' ? 'this user may not listen there' : error.message;
      reject(new UserError('path' in address ? `The server can't listen on ${address.path}: ${why}.` : `The server can't listen on ${address.host}:${address.port}: ${why}. Choose another one with --port.`, { cause: error }));
    });
    server.listen('path' in address ? { path: address.path } : { port: address.port, host: address.host }, resolve);
  });
}

/** What Node's parser refuses never reaches the app: the problem document is written by hand. */
function refuseBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  const problem = error.code === 'HPE_HEADER_OVERFLOW' ? new Problem('header-too-large', 'The header is over the limit of 16,384 bytes.')
    : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? new Problem('too-slow', 'The request did not arrive whole in time.')
      : new Problem('bad-request', 'This is not HTTP.');
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(problem.document(''));
  socket.end(`HTTP/1.1 ${problem.status} Refused\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

