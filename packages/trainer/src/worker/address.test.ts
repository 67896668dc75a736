import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { addressTowards, freePort, parseHostPort } from './address.js';

describe('addresses', () => {
  it('are read as host and port, IPv6 in brackets', () => {
    expect(parseHostPort('10.0.0.5:50051')).toEqual({ host: '10.0.0.5', port: 50_051 });
    expect(parseHostPort(' [::1]:80 ')).toEqual({ host: '::1', port: 80 });
    for (const wrong of ['here', 'here:', ':80', 'here:99999', '::1:80']) expect(() => parseHostPort(wrong)).toThrow(/host:port/);
  });

  it('towards this machine are its own', async () => {
    expect(await addressTowards('127.0.0.1', 50_051)).toBe('127.0.0.1');
  });

  it('have ports that can be listened on', async () => {
    const port = await freePort('127.0.0.1');
    const server = createServer().listen(port, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    expect(server.address()).toMatchObject({ port });
    server.close();
  });
});
