import { DEFAULT_DETECTION_MS, EXCHANGES, type ExchangeKind, type Security, readJoinToken } from '@chameleon/trainer';
import { InvalidArgumentError, type Command } from 'commander';
import type { Engine } from './engine.js';
import { type Given, integer } from './settings.js';

/** Flags that coordinators, workers and those who ask a coordinator share. */

const seconds = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('It is not a number above 0.');
  return value;
};
export const atLeastOne = (text: string): number => {
  const value = integer(text);
  if (value < 1) throw new InvalidArgumentError('It must be at least 1.');
  return value;
};

/** `0/2`: the first of two. */
export function shareOf(text: string): { index: number; count: number } {
  const [index, count] = text.split('/').map(Number);
  if (!/^\d+\/\d+$/.test(text) || index! >= count!) throw new InvalidArgumentError('Write which of how many it is, counted from 0: 0/2 and 1/2.');
  return { index: index!, count: count! };
}

/** Token and TLS. The token itself is no flag: process lists show those. */
export function withSecurity(command: Command, side: 'server' | 'client'): Command {
  command.option('--join-token-file <file>', 'holds the join token (default: the environment variable CHAMELEON_JOIN_TOKEN)');
  if (side === 'server') return command.option('--tls-cert <file>', 'certificate, PEM').option('--tls-key <file>', 'its key, PEM').option('--tls-ca <file>', "authority of the callers' certificates, which then are demanded");
  return command.option('--tls', 'speak TLS with the coordinator').option('--tls-ca <file>', "authority of the coordinator's certificate").option('--tls-cert <file>', 'own certificate, where the coordinator demands one').option('--tls-key <file>', 'its key');
}

export async function readSecurity(given: Given): Promise<Security> {
  const files = Object.entries({ ca: given['tlsCa'], cert: given['tlsCert'], key: given['tlsKey'] }).filter(([, path]) => path !== undefined) as [string, string][];
  return {
    token: await readJoinToken(given['joinTokenFile'] as string | undefined),
    tls: files.length > 0 || given['tls'] === true ? Object.fromEntries(files) : null,
    insecure: given['insecure'] === true,
  };
}

const exchangeKind = (text: string): string => {
  const choices = ['auto', ...EXCHANGES];
  if (!choices.includes(text)) throw new InvalidArgumentError(`Choose one of ${choices.join(', ')}.`);
  return text;
};

/** Where a coordinator's or worker's figures are served. */
export function withMetrics(command: Command): Command {
  return command
    .option('--metrics-port <n>', 'serve metrics for Prometheus and the dashboard on this port; 0 takes any free one', integer)
    .option('--metrics-host <address>', 'where they are served: only this machine can reach 127.0.0.1', '127.0.0.1');
}

/** Null where no metrics are asked for. */
export const readMetrics = (given: Given): { port: number; host: string } | null => (typeof given['metricsPort'] === 'number' ? { port: given['metricsPort'], host: (given['metricsHost'] as string | undefined) ?? '127.0.0.1' } : null);

/** How a run over several workers is held together. */
export function withGroup(command: Command): Command {
  return command
    .option('--detection-time <s>', 'after so many seconds without a word a worker is lost', seconds, DEFAULT_DETECTION_MS / 1000)
    .option('--max-failures <n>', 'losses of a node within ten minutes after which it is left out', atLeastOne, 5)
    .option('--balance', "give faster workers a larger part of each step's pictures")
    .option('--exchange <kind>', 'how gradients are added up: gloo needs libtorch on all machines, nccl a CUDA device for each worker (not run yet), grpc nothing; auto: gloo where this machine computes with libtorch', exchangeKind, 'auto');
}

/** @param engine what computes here, and so most likely on all machines: it knows how gradients are added up where nobody says it */
export const readGroup = (given: Given, engine: Pick<Engine, 'exchange'>) => ({
  detectionMs: (given['detectionTime'] as number) * 1000,
  maxFailures: given['maxFailures'] as number,
  balance: given['balance'] === true,
  exchange: given['exchange'] === 'auto' ? engine.exchange : (given['exchange'] as ExchangeKind),
});
