import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drawSmallDataset, smallConfig, temporaryFolder } from '../testing/small-run.js';
import { openRunClient } from './client.js';
import { startCoordinator } from './start.js';

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const path = (name: string) => join(folder.path, name);

/** An authority and what it signed, as a team's would be. */
beforeAll(async () => {
  folder = await temporaryFolder();
  if (!hasOpenssl) return;
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=authority', '-keyout', path('ca.key'), '-out', path('ca.pem'));
  for (const name of ['server', 'client']) {
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', path(`${name}.key`), '-out', path(`${name}.csr`));
    openssl('x509', '-req', '-in', path(`${name}.csr`), '-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-CAcreateserial', '-days', '2', '-copy_extensions', 'copy', '-out', path(`${name}.pem`));
  }
});
afterAll(() => folder[Symbol.asyncDispose]());

describe.skipIf(!hasOpenssl)('TLS', () => {
  it('lets in who shows a certificate of the authority, and nobody else', async () => {
    await drawSmallDataset(path('data'), 5);
    const tls = { ca: path('ca.pem'), cert: path('server.pem'), key: path('server.key') };
    const running = await startCoordinator({ config: smallConfig(path('data')), out: folder.path, path: path('run') }, { listen: '127.0.0.1:0', security: { token: null, tls }, minWorkers: 1, maxWorkers: 1, detectionMs: 1_000, maxFailures: 3, balance: false, exchange: 'grpc' }, { backend: 'none' });
    try {
      const ask = async (files: { ca?: string; cert?: string; key?: string } | null) => {
        using client = await openRunClient(`127.0.0.1:${running.port}`, { token: null, tls: files });
        return await client.get('');
      };
      expect(await ask({ ca: path('ca.pem'), cert: path('client.pem'), key: path('client.key') })).toMatchObject({ runId: 'run', state: 'waiting' });
      await expect(ask({ ca: path('ca.pem') })).rejects.toThrow(/No coordinator answers/);
      await expect(ask(null)).rejects.toThrow(/No coordinator answers/);
      await expect(openRunClient('127.0.0.1:1', { token: null, tls: { ca: path('missing.pem') } })).rejects.toThrow(/missing\.pem can't be read/);
    } finally {
      await running.close();
    }
  });
});
