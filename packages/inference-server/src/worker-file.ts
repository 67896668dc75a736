import { Worker } from 'node:worker_threads';

/**
 * Starts a worker thread from a module of this package, named as it is called in `dist`. A thread can't run TypeScript: it is the
 * built module also where this one runs as source, as in tests, and then without the flags that make Node look for sources.
 */
export function startWorker(path: string, workerData?: unknown): Worker {
  const isSource = import.meta.url.endsWith('.ts');
  return new Worker(new URL(isSource ? `../dist/${path}` : path, import.meta.url), { workerData, ...(isSource ? { execArgv: [] } : {}) });
}
