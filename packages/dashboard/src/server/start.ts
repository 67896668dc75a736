import { stat } from 'node:fs/promises';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RunLibrary } from '../runs/run-library.js';
import { Access, type AccessOptions, isLoopback } from './access.js';
import { createApp } from './app.js';
import { EmbeddedSource } from './embedded-source.js';
import { DashboardError } from './errors.js';
import { Live } from './live.js';
import { PrometheusSource } from './prometheus-source.js';
import type { RunControl } from './run-routes.js';
import type { MetricsSource } from './source.js';
import { parseTarget } from './targets.js';

/** How a dashboard is started. All may be left out: then it shows the runs in `runsFolder` alone, if that. */
export interface DashboardOptions {
  /** 127.0.0.1; elsewhere `access` has to be given. */
  host?: string;
  /** 8090; 0 takes any free one. */
  port?: number;
  /** A Prometheus to ask; without one the dashboard scrapes the targets itself. */
  prometheus?: string;
  /** Addresses of metrics, as `127.0.0.1:9464`. */
  targets?: readonly string[];
  /** A file of targets in the form of Prometheus's file discovery. */
  targetsFile?: string;
  /** ms between two scrapes: 5,000. */
  intervalMs?: number;
  /** How long scrapes are kept: 24 h. */
  retentionHours?: number;
  /** The most that scrapes take in memory, and again on the disk: 256. */
  maxMegabytes?: number;
  /** Where scrapes are kept on the disk; by default in memory alone. */
  historyFolder?: string;
  /** The folder of run directories. */
  runsFolder?: string;
  access?: AccessOptions;
  /** What gives commands to live runs. */
  control?: RunControl;
  onError?: (error: unknown) => void;
}

export interface RunningDashboard extends AsyncDisposable {
  url: string;
  port: number;
}

const PAGE_FOLDER = fileURLToPath(new URL('../../dist/page/', import.meta.url));

/** Listens until it is disposed. @throws DashboardError when the options are wrong or the port is taken */
export async function startDashboard(options: DashboardOptions): Promise<RunningDashboard> {
  const { host = '127.0.0.1', port = 8090, access = { kind: 'open' }, runsFolder } = options;
  if (access.kind === 'open' && !isLoopback(host)) throw new DashboardError(`Without a password the dashboard listens on a loopback address only, and ${host} is none. Pass --password-file FILE, or --proxy-user-header NAME behind a proxy that logs users in.`, { exitCode: 2 });
  if (!(await stat(join(PAGE_FOLDER, 'index.html')).catch(() => null))) throw new DashboardError('The dashboard\'s page is not built. Run: node tools/setup.mjs');
  const source = await openSource(options);
  const runs = runsFolder === undefined ? null : new RunLibrary(runsFolder);
  const live = new Live(source, runs);
  const app = createApp({ source, runs, live, control: options.control ?? null, access: new Access(access), pageFolder: PAGE_FOLDER, onError: options.onError ?? (() => undefined) });
  const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 }, app);
  try {
    await listen(server, port, host);
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
  const address = server.address() as AddressInfo;
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  const stop = async () => {
    live[Symbol.dispose]();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
    await source[Symbol.asyncDispose]();
  };
  let stopped: Promise<void> | undefined;
  return { url: `http://${shown}:${address.port}`, port: address.port, [Symbol.asyncDispose]: () => (stopped ??= stop()) };
}

async function openSource({ prometheus, targets = [], targetsFile, intervalMs = 5_000, retentionHours = 24, maxMegabytes = 256, historyFolder }: DashboardOptions): Promise<MetricsSource> {
  if (prometheus !== undefined) {
    if (targets.length > 0 || targetsFile !== undefined) throw new DashboardError('Either a Prometheus is asked, which has its own targets, or the dashboard scrapes: leave out --prometheus, or --target and --file.', { exitCode: 2 });
    return new PrometheusSource(prometheus);
  }
  const limits = { retentionMs: retentionHours * 3_600_000, maxBytes: maxMegabytes * 1e6 };
  return EmbeddedSource.start({
    targets: targets.map((target) => parseTarget(target)), intervalMs, limits,
    ...(targetsFile === undefined ? {} : { file: targetsFile }),
    ...(historyFolder === undefined ? {} : { folder: historyFolder }),
  });
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another program listens there already' : error.code === 'EACCES' ? 'this user may not listen there' : error.message;
      reject(new DashboardError(`The dashboard can't listen on ${host}:${port}: ${why}. Choose another one with --port.`, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
}
