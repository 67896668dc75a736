import { join } from 'node:path';
import { UserError } from '@chameleon/core';
import { type AccessOptions, DashboardError, type DashboardOptions, readPasswords, startDashboard } from '@chameleon/dashboard';
import { type RunClient, openRunClient } from '@chameleon/trainer';
import { type Command, InvalidArgumentError } from 'commander';
import { readSecurity, withSecurity } from '../distributed-settings.js';
import { print } from '../output.js';
import { controlOf } from '../run-control.js';
import { type Given, integer, withSettings } from '../settings.js';

/** Given several times, or with commas between. */
const list = (text: string, before: readonly string[] = []): string[] => [...before, ...text.split(',').map((part) => part.trim()).filter((part) => part !== '')];
const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('It has to be above 0.');
  return value;
};

const DASHBOARD_SETTINGS = [
  { flags: '--target <address>', help: 'metrics to scrape, as 127.0.0.1:9464; given several times, or with commas between', parse: list },
  { flags: '--file <file>', help: "targets in the form of Prometheus's file discovery; read again when it changes" },
  { flags: '--prometheus <url>', help: 'ask this Prometheus instead of scraping' },
  { flags: '--runs <folder>', help: 'the run directories (default: runs)' },
  { flags: '--history <folder>', help: 'where scrapes are kept on the disk (default: .dashboard among the runs)' },
  { flags: '--memory-only', help: 'keep scrapes in memory alone' },
  { flags: '--interval <seconds>', help: 'between two scrapes (default: 5)', parse: positive },
  { flags: '--retention <hours>', help: 'how long scrapes are kept (default: 24)', parse: positive },
  { flags: '--max-megabytes <n>', help: 'that scrapes take, in memory and again on the disk (default: 256)', parse: positive },
  { flags: '--coordinator <address>', help: 'of a run over machines, to give it commands from the page: stop, checkpoint, unfreeze, learning rates' },
  { flags: '--host <address>', help: 'where to listen (default: 127.0.0.1)' },
  { flags: '--port <n>', help: '0 takes any free one (default: 8090)', parse: integer },
  { flags: '--password-file <file>', help: 'JSON: {"read": "…", "operate": "…"}; needed to listen anywhere but on this machine' },
  { flags: '--proxy-user-header <name>', help: 'where a proxy in front says who has logged in, as X-Forwarded-User' },
  { flags: '--trusted-proxy <addresses>', help: 'addresses that are believed it (default: 127.0.0.1 and ::1)', parse: list },
  { flags: '--operators <users>', help: 'users of the proxy who may give commands (default: none)', parse: list },
].map((setting) => ({ key: null, ...setting }));

export function addDashboard(program: Command): void {
  withSecurity(withSettings(program.command('dashboard'), DASHBOARD_SETTINGS), 'client')
    .description('Watch runs and servers on one page.')
    .addHelpText('after', `
Examples:
  chameleon dashboard
  chameleon dashboard --target 127.0.0.1:9464 --target 127.0.0.1:8080
  chameleon dashboard --prometheus http://prometheus:9090
  chameleon dashboard --coordinator 10.0.0.5:50051 --tls-ca ca.pem --tls-cert me.pem --tls-key me.key
  chameleon dashboard --host 0.0.0.0 --password-file passwords.json`)
    .action((given: Given) => runDashboard(given));
}

async function runDashboard(given: Given): Promise<void> {
  try {
    using coordinator = await openCoordinator(given);
    await using dashboard = await startDashboard({ ...(await optionsOf(given)), ...(coordinator ? { control: controlOf(() => coordinator) } : {}), onError: (error) => void process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`) });
    print(`Chameleon's dashboard is at ${dashboard.url}`);
    await new Promise<void>((resolve) => void process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve()));
  } catch (error) {
    throw error instanceof DashboardError ? new UserError(error.message, { exitCode: error.exitCode, cause: error.cause }) : error;
  }
}

async function optionsOf(given: Given): Promise<DashboardOptions> {
  const flag = <Value>(name: string) => given[name] as Value | undefined;
  const runsFolder = flag<string>('runs') ?? 'runs';
  const prometheus = flag<string>('prometheus'), interval = flag<number>('interval');
  const keepsScrapes = prometheus === undefined && given['memoryOnly'] !== true;
  return {
    runsFolder,
    ...defined('prometheus', prometheus), ...defined('targets', flag<string[]>('target')), ...defined('targetsFile', flag<string>('file')),
    ...defined('intervalMs', interval === undefined ? undefined : Math.round(interval * 1000)), ...defined('retentionHours', flag<number>('retention')), ...defined('maxMegabytes', flag<number>('maxMegabytes')),
    ...(keepsScrapes ? { historyFolder: flag<string>('history') ?? join(runsFolder, '.dashboard') } : {}),
    ...defined('host', flag<string>('host')), ...defined('port', flag<number>('port')), ...defined('access', await accessOf(given)),
  };
}

async function accessOf(given: Given): Promise<AccessOptions | undefined> {
  const [passwords, header] = [given['passwordFile'] as string | undefined, given['proxyUserHeader'] as string | undefined];
  if (passwords !== undefined && header !== undefined) throw new UserError('Either passwords are asked for, or a proxy says who is there: leave out --password-file or --proxy-user-header.', { exitCode: 2 });
  if (passwords !== undefined) return readPasswords(passwords);
  if (header === undefined) return undefined;
  return { kind: 'proxy', header, trusted: (given['trustedProxy'] as string[] | undefined) ?? ['127.0.0.1', '::1'], operators: (given['operators'] as string[] | undefined) ?? [] };
}

async function openCoordinator(given: Given): Promise<RunClient | null> {
  const coordinator = given['coordinator'] as string | undefined;
  return coordinator === undefined ? null : openRunClient(coordinator, await readSecurity(given));
}

const defined = <Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } => (value === undefined ? {} : ({ [key]: value } as { [K in Key]: Value }));
