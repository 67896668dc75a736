import { spawnSync } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { createServer as createProxy, type Server } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chameleon, temporaryFolder } from '../testing/chameleon.js';

/** Not torchvision's file, but one whose SHA-256 begins as the name says: the last 16 bytes were searched for. */
const passing = Buffer.concat([Buffer.alloc(49_984, 7), Buffer.from('00000000128c5c9e')]);
const FILE = 'resnet50-11ad3fa6.pth';

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

describe.skipIf(!hasOpenssl)('weights pull (skipped where openssl, which makes the certificate, is not installed)', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let server: Server, proxy: Server;
  /** Hosts that the proxy was asked for. It brings everybody to our own server. */
  const through: string[] = [];
  const portOf = (listener: Server) => (listener.address() as AddressInfo).port;
  const listen = (listener: Server) => new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));

  beforeAll(async () => {
    folder = await temporaryFolder();
    const [key, cert] = [join(folder.path, 'key.pem'), join(folder.path, 'cert.pem')];
    spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-keyout', key, '-out', cert, '-subj', '/CN=weights.invalid', '-addext', 'subjectAltName=DNS:weights.invalid']);
    server = createServer({ key: await readFile(key), cert: await readFile(cert) }, (request, response) => response.writeHead(request.url === `/${FILE}` ? 200 : 404, { 'content-length': passing.length }).end(passing));
    proxy = createProxy().on('connect', (request, client) => {
      through.push(request.url!);
      const upstream = connect(portOf(server), '127.0.0.1', () => client.write('HTTP/1.1 200 Connection established\r\n\r\n'));
      upstream.pipe(client).pipe(upstream);
      upstream.on('error', () => client.destroy());
      client.on('error', () => upstream.destroy());
    });
    await Promise.all([listen(server), listen(proxy)]);
  });
  afterAll(async () => {
    for (const each of [server, proxy]) {
      each.closeAllConnections();
      each.close();
    }
    await folder[Symbol.asyncDispose]();
  });

  it('comes over HTTPS through HTTPS_PROXY, prints where the file is, and lists it as at hand', async () => {
    const environment = { CHAMELEON_CACHE: join(folder.path, 'cache'), CHAMELEON_WEIGHTS_URL: 'https://weights.invalid', NODE_EXTRA_CA_CERTS: join(folder.path, 'cert.pem'), HTTPS_PROXY: `http://127.0.0.1:${portOf(proxy)}`, https_proxy: undefined, NO_PROXY: undefined, no_proxy: undefined };
    const pulled = await chameleon(folder.path, ['weights', 'pull', 'resnet50-v2'], { environment });
    expect(pulled).toEqual({ code: 0, out: `${join(folder.path, 'cache', FILE)}\n`, err: '' });
    expect(through).toEqual(['weights.invalid:443']);
    expect((await readFile(pulled.out.trim())).equals(passing)).toBe(true);
    const listed = await chameleon(folder.path, ['weights', 'list', '--json'], { environment });
    expect(JSON.parse(listed.out)).toContainEqual({ name: 'resnet50-v2', architecture: 'resnet50', state: 'at hand', bytes: passing.length });
  });

  it('from a file needs no network', async () => {
    const environment = { CHAMELEON_CACHE: join(folder.path, 'other'), CHAMELEON_WEIGHTS_URL: 'https://nowhere.invalid' };
    const pulled = await chameleon(folder.path, ['weights', 'pull', 'resnet50-v2', '--from', join('cache', FILE)], { environment });
    expect(pulled.code).toBe(0);
    expect(await readdir(join(folder.path, 'other'))).toEqual([FILE]);
  });
});
