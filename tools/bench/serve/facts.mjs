import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** The machine and the versions that figures belong to. */
export async function facts() {
  const { libtorchVersion } = await import('@chameleon/tfjs-libtorch').catch(() => ({ libtorchVersion: () => 'none' }));
  const flags = /^flags.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[0] ?? '';
  const wide = ['avx512_bf16', 'avx512_vnni', 'amx_bf16'].filter((flag) => flags.includes(flag)).join(', ');
  return {
    date: new Date().toISOString(),
    machine: `${cpus()[0]?.model.trim() ?? 'unknown'}${wide ? ` with ${wide}` : ''}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, load ${readFileSync('/proc/loadavg', 'utf8').split(' ')[0]} at the start`,
    versions: { chameleon: versionOf('../../../package.json'), node: process.versions.node, libtorch: libtorchVersion(), 'onnxruntime-node': versionOf('../../../node_modules/onnxruntime-node/package.json'), sharp: versionOf('../../../node_modules/sharp/package.json'), express: versionOf('../../../node_modules/express/package.json') },
  };
}

const versionOf = (path) => JSON.parse(readFileSync(require.resolve(path), 'utf8')).version;
