import { pino } from 'pino';
import { type RunningServer, type ServerOptions, startServer } from '../server.js';
import { ENGINE } from './models.js';

export const SILENT = pino({ level: 'silent' });

/** A server on a free port that is ready and stops when the block ends. */
export async function startTestServer(options: Partial<ServerOptions> & Pick<ServerOptions, 'models'>): Promise<RunningServer & AsyncDisposable> {
  const server = await startServer({ engine: ENGINE, port: 0, maxBatch: 4, threads: 1, decodeThreads: 1, logger: SILENT, ...options });
  await server.ready;
  return { ...server, [Symbol.asyncDispose]: () => server.stop({ deadlineMs: 2_000 }) };
}

/** A form with files in fields called image. */
export function formOf(...pictures: readonly Uint8Array[]): FormData {
  const form = new FormData();
  pictures.forEach((bytes, i) => form.append('image', new Blob([Uint8Array.from(bytes)]), `picture-${i}.jpg`));
  return form;
}
