import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { EngineChoice } from '../compute/messages.js';

/**
 * libtorch's engine, in whose thread the first message ends the thread: `times` times, or always.
 * @param folder where the engine is written
 * @param of only threads with the model of this folder
 */
export async function dyingEngine(folder: string, times: number, of = ''): Promise<EngineChoice> {
  const file = join(folder, 'engine.mjs'), engine = import.meta.resolve('@chameleon/tfjs-libtorch').replace('/src/index.ts', '/dist/index.js');
  await writeFile(file, `import { readdirSync, writeFileSync } from 'node:fs';
export * from ${JSON.stringify(engine)};
import { parentPort, workerData } from 'node:worker_threads';
const folder = ${JSON.stringify(folder)}, deaths = readdirSync(folder).filter((name) => name.startsWith('death-')).length;
if (deaths < ${times} && workerData.folder.startsWith(${JSON.stringify(of)})) parentPort.on('message', () => { writeFileSync(folder + '/death-' + deaths, ''); process.exit(7); });
`);
  return { module: pathToFileURL(file).href, backend: 'libtorch' };
}
