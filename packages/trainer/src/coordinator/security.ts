import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { UserError } from '@chameleon/core';
import { ChannelCredentials, Metadata, type ServerInterceptor, ServerCredentials, ServerInterceptingCall, ServerListenerBuilder, status } from '@grpc/grpc-js';
import { readIfThere } from '../files.js';

/** Who may speak with a coordinator, and how both sides prove who they are. */

/** Paths of PEM files. */
export interface TlsFiles {
  /** Whom this side trusts. On a coordinator: the authority of its workers' certificates, which then are demanded. */
  ca?: string;
  cert?: string;
  key?: string;
}

export interface Security {
  /** What every caller must say; null: nobody is asked. */
  token: string | null;
  tls: TlsFiles | null;
  /** Listens beyond this machine without token or TLS. */
  insecure?: boolean;
}

/** @throws UserError when others than this machine could speak with a coordinator that asks for nothing */
export function requireSecurity(host: string, { token, tls, insecure = false }: Security): void {
  if (isLoopback(host) || token !== null || tls !== null || insecure) return;
  throw new UserError(`A coordinator on ${host} would obey anybody who reaches it. Set a join token (CHAMELEON_JOIN_TOKEN or --join-token-file), or TLS (--tls-cert, --tls-key, --tls-ca), or say --insecure.`, { exitCode: 2 });
}

export const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

export async function serverCredentials(tls: TlsFiles | null): Promise<ServerCredentials> {
  if (tls === null) return ServerCredentials.createInsecure();
  if (!tls.cert || !tls.key) throw new UserError('A coordinator with TLS needs a certificate and its key: --tls-cert and --tls-key.', { exitCode: 2 });
  const [ca, cert, key] = await Promise.all([readIfGiven(tls.ca), readPem(tls.cert), readPem(tls.key)]);
  return ServerCredentials.createSsl(ca, [{ cert_chain: cert, private_key: key }], ca !== null);
}

export async function channelCredentials(tls: TlsFiles | null): Promise<ChannelCredentials> {
  if (tls === null) return ChannelCredentials.createInsecure();
  const [ca, cert, key] = await Promise.all([tls.ca, tls.cert, tls.key].map(readIfGiven));
  return ChannelCredentials.createSsl(ca, key, cert);
}

/** Refuses calls without the token; but for the services that anybody may ask. */
export function tokenInterceptor(token: string, open: readonly string[]): ServerInterceptor {
  return (method, call) => {
    if (open.some((prefix) => method.path.startsWith(prefix))) return new ServerInterceptingCall(call);
    const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, next) => {
      if (isSameToken(String(metadata.get('authorization')[0] ?? ''), `Bearer ${token}`)) return next(metadata);
      call.sendStatus({ code: status.UNAUTHENTICATED, details: 'The join token is missing or wrong. Give this side the token that the coordinator was started with: CHAMELEON_JOIN_TOKEN or --join-token-file.' });
    });
    return new ServerInterceptingCall(call, { start: (next) => next(listener.build()) });
  };
}

/** In a time that doesn't depend on where they differ, nor on their lengths. */
export function isSameToken(given: string, wanted: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}

export function tokenMetadata(token: string | null): Metadata {
  const metadata = new Metadata();
  if (token !== null) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

/** The join token: of a file, else of the environment; null where there is none. @throws UserError when the file is missing or empty */
export async function readJoinToken(file: string | undefined, environment: NodeJS.ProcessEnv = process.env): Promise<string | null> {
  if (file === undefined) return environment['CHAMELEON_JOIN_TOKEN'] || null;
  const text = (await readIfThere(file))?.toString().trim();
  if (!text) throw new UserError(`${file} holds no join token. Put one line into it, for instance of: openssl rand -hex 32`, { exitCode: 2 });
  return text;
}

const readIfGiven = (path: string | undefined): Promise<Buffer | null> => (path ? readPem(path) : Promise.resolve(null));

async function readPem(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new UserError(`${path} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}); TLS needs it.`, { exitCode: 2, cause: error });
  }
}
