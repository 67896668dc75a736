import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { UserError } from '@chameleon/core';

/** Host and port of `host:port`, with IPv6 in brackets. @throws UserError */
export function parseHostPort(text: string): { host: string; port: number } {
  const found = /^(?:\[(?<six>[^\]]+)\]|(?<four>[^:]+)):(?<port>\d{1,5})$/.exec(text.trim());
  const port = Number(found?.groups!['port']);
  if (!found || port > 65_535) throw new UserError(`${text} is not an address: write host:port, for instance 10.0.0.5:50051, or [::1]:50051.`, { exitCode: 2 });
  return { host: (found.groups!['six'] ?? found.groups!['four'])!, port };
}

/** `host:port` as `parseHostPort` reads it, with IPv6 in brackets. */
export const hostPort = ({ host, port }: { host: string; port: number }): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/**
 * The address of this machine from which a packet to `host` would leave: what the others reach, without asking what this
 * machine's name resolves to. Nothing is sent.
 */
export async function addressTowards(host: string, port: number): Promise<string> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  try {
    socket.connect(port || 9, host);
    await Promise.race([once(socket, 'connect'), once(socket, 'error').then(([error]) => Promise.reject(error as Error))]);
    return socket.address().address;
  } catch (error) {
    throw new UserError(`There is no way from this machine to ${host} (${(error as NodeJS.ErrnoException).code ?? String(error)}). Check the coordinator's address, or say this machine's own with --address.`, { cause: error });
  } finally {
    socket.close();
  }
}

/** A port of `address` that nobody listens on. */
export async function freePort(address: string): Promise<number> {
  const server = createServer().listen(0, address);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
