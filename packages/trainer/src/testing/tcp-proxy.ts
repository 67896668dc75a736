import { once } from 'node:events';
import { type Socket, connect, createServer } from 'node:net';

/** A wire between a worker and its coordinator that a test can damage or cut. */
export interface TcpProxy extends AsyncDisposable {
  port: number;
  /** Bytes that came from the coordinator so far. */
  received(): number;
  /** Breaks all connections; new ones are let through. */
  cut(): void;
}

/** @param change is given what the coordinator sends, and gives what arrives */
export async function tcpProxy(target: number, change: (bytes: Buffer) => Buffer = (bytes) => bytes): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let received = 0;
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.on('data', (bytes) => {
      received += bytes.length;
      if (!near.write(change(bytes))) far.pause();
    });
    near.on('drain', () => far.resume());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => sockets.forEach((socket) => socket.destroy());
  return {
    port: (server.address() as { port: number }).port,
    received: () => received,
    cut,
    [Symbol.asyncDispose]: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
