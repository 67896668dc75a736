import type { BackendName } from '@chameleon/core';
import { UserError, chooseBackend } from '@chameleon/core';
import { DEFAULT_CANARY_BOUNDS, DEFAULT_LIMITS, type EngineChoice, LOG_LEVELS, type Limits, type LogLevel, type ModelSource, type PrecisionChoice, type RunningServer, type ServerOptions, type StopOptions, createLogger, startServer, waitShortly } from '@chameleon/inference-server';
import { findRun } from '@chameleon/trainer';
import { type Command, InvalidArgumentError } from 'commander';
import { backendCandidates } from '../engine.js';
import { print, remark } from '../output.js';
import { SERVING_BACKENDS, type ServingBackend, engineOf, servingEngineFor } from '../serving-engine.js';
import { ENGINE_SETTINGS, type Given, integer, withSettings } from '../settings.js';

const positive = (text: string): number => {
  const value = integer(text);
  if (value === 0) throw new InvalidArgumentError('It has to be at least 1.');
  return value;
};
const share = (text: string): number => {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) throw new InvalidArgumentError('It is not a number from 0 to 1.');
  return value;
};
const list = (text: string): string[] => text.split(',').map((part) => part.trim()).filter((part) => part !== '');
const grouped = (count: number): string => count.toLocaleString('en');

/** What a request may cost: the flag, and the limit that it sets. */
const LIMIT_FLAGS: readonly [flag: string, limit: keyof Limits, help: string][] = [
  ['--max-body-bytes', 'bodyBytes', "bytes of a request's body"],
  ['--max-buffered-bytes', 'bufferedBytes', 'bytes of all bodies in memory at one time'],
  ['--max-pictures', 'pictures', 'pictures a request'],
  ['--max-pixels', 'pixels', 'pixels a picture'],
  ['--max-connections', 'connections', 'open connections'],
  ['--receive-ms', 'receiveMs', 'ms for a request to arrive whole'],
  ['--decode-ms', 'decodeMs', 'ms a picture may take to decode'],
  ['--wait-ms', 'waitMs', 'ms that a request may wait for its computation'],
  ['--compute-ms', 'computeMs', 'ms that a batch may take'],
];

const SERVE_SETTINGS = [
  { flags: '--model <runs>', help: 'the same as the arguments, with commas between', parse: list },
  { flags: '--host <address>', help: 'where to listen (default: 127.0.0.1)' },
  { flags: '--port <n>', help: '0 takes any free one (default: 8080)', parse: integer },
  { flags: '--keys <file>', help: 'API keys, as `chameleon keys add` makes them; needed to listen anywhere but on this machine' },
  { flags: '--insecure', help: 'listen elsewhere without keys: everybody may ask, nobody may change what is served' },
  { flags: '--tls-cert <file>', help: 'certificate in PEM: speak HTTPS' },
  { flags: '--tls-key <file>', help: 'its key in PEM' },
  { flags: '--cors-origin <origins>', help: 'pages that may ask from a browser, with commas between, or * (default: none but our own)', parse: list },
  { flags: '--replicas <n>', help: 'processes that compute, behind the one port: one a GPU, or shares of the cores (default: 1)', parse: positive },
  { flags: '--backend <name>', choices: ['auto', ...SERVING_BACKENDS], help: 'what computes (default: the best that loads)' },
  { flags: '--max-batch <n>', help: 'pictures computed at once (default: 16)', parse: positive },
  { flags: '--max-queue <n>', help: 'pictures of a model that wait or are computed; more get 429 (default: 128)', parse: positive },
  { flags: '--max-delay-ms <n>', help: 'ms that a picture waits for company while nothing is computed (default: 5)', parse: integer },
  { flags: '--decode-threads <n>', help: 'threads that decode (default: the cores)', parse: positive },
  { flags: '--requests-per-minute <n>', help: 'of each key (default: any number)', parse: positive },
  { flags: '--models-root <folder>', help: 'versions may be added from here while the server runs (default: none may)' },
  { flags: '--canary-min-requests <n>', help: `before a canary is judged (default: ${DEFAULT_CANARY_BOUNDS.minRequests})`, parse: positive },
  { flags: '--canary-max-error-rate <x>', help: `by how much more of its requests may fail (default: ${DEFAULT_CANARY_BOUNDS.maxErrorRate})`, parse: share },
  { flags: '--canary-max-class-share <x>', help: `by how much a class's share may differ (default: ${DEFAULT_CANARY_BOUNDS.maxClassShare})`, parse: share },
  ...LIMIT_FLAGS.map(([flag, limit, help]) => ({ flags: `${flag} <n>`, help: `${help} (default: ${grouped(DEFAULT_LIMITS[limit])})`, parse: positive })),
  { flags: '--notice-ms <n>', help: 'ms between "not ready" and the end of listening, for load balancers to notice (default: 0)', parse: integer },
  { flags: '--deadline-ms <n>', help: 'ms for what is under way to be answered when it stops (default: 10,000)', parse: integer },
  { flags: '--log-level <level>', help: 'of the log on standard error, a line of JSON each (default: info)', choices: LOG_LEVELS },
  { flags: '--dtype <type>', help: 'of the computation: int8 needs `chameleon calibrate` once (default: --precision)', choices: ['float32', 'bfloat16', 'int8'] },
  { flags: '--out <folder>', help: 'where run directories are (default: runs)' },
].map((setting) => ({ key: null, ...setting }));

export function addServe(program: Command): void {
  withSettings(program.command('serve [runs...]'), [...SERVE_SETTINGS, ...ENGINE_SETTINGS.filter(({ flags }) => !flags.startsWith('--backend'))])
    .description('Answer over HTTP with trained models: runs, or model folders (default: the newest run). NAME=RUN or NAME:VERSION=RUN gives another name.')
    .addHelpText('after', `
SIGTERM and Ctrl-C end it once every request is answered, with exit code 0.

Examples:
  chameleon serve
  chameleon serve runs/20261125-demo --port 9000
  chameleon serve clothes:old=runs/20261101-a clothes:new=runs/20261125-b
  chameleon serve --dtype int8
  chameleon keys add phone --file keys.json
  chameleon serve --host 0.0.0.0 --keys keys.json --tls-cert cert.pem --tls-key key.pem
  curl -F image=@soldier.jpg 'localhost:8080/v1/classify?top_k=3'`)
    .action(async (named: string[], given: Given, command: Command) => {
      // Commander takes a switch whose variable is set for switched on, whatever the variable says.
      if (command.getOptionValueSource('insecure') === 'env' && !/^(1|true|yes|on)$/i.test(process.env['CHAMELEON_INSECURE'] ?? '')) delete given['insecure'];
      const models = await findModels([...named, ...((given['model'] as string[] | undefined) ?? [])], (given['out'] as string | undefined) ?? 'runs');
      waitShortly();
      const logger = createLogger((given['logLevel'] as LogLevel | undefined) ?? 'info');
      const { engine, passedOver } = await servingEngineFor((given['backend'] as ServingBackend | undefined) ?? 'auto');
      logger[passedOver.length > 0 ? 'warn' : 'info']({ backend: engine.backend, passedOver }, 'the backend is chosen');
      const server = await startServer({ ...serverOptions(given, models, engine), logger });
      await untilStopped(server, { ...defined('noticeMs', given['noticeMs'] as number | undefined), ...defined('deadlineMs', given['deadlineMs'] as number | undefined) }, () => {
        print(`Chameleon serves ${models.map(({ path }) => path).join(', ')} with ${engine.backend} at ${server.url}`);
      });
    });
}

/** The backend that would train here, as the module that a thread or process imports. @throws UserError when there is none */
export async function engineFor(wanted: BackendName | 'auto'): Promise<EngineChoice> {
  return engineOf((await chooseBackend(wanted, backendCandidates())).name);
}

/** What the arguments name: `RUN`, `NAME=RUN` or `NAME:VERSION=RUN`, where a run is a name, a path, or `last`. */
export async function findModels(named: readonly string[], out: string): Promise<ModelSource[]> {
  return Promise.all((named.length === 0 ? ['last'] : named).map(async (text) => {
    const [, name, version, run] = /^(?:([\w.-]+)(?::([\w.-]+))?=)?(.+)$/s.exec(text) ?? [];
    if (run === undefined) throw new UserError('A model has no name: write a run or a model folder.', { exitCode: 2 });
    const path = await findRun(run, out).catch((error: unknown) => {
      if (/[/.]/.test(run)) return run;
      throw error;
    });
    return { path, ...defined('name', name), ...defined('version', version) };
  }));
}

/** A property, unless its value is undefined. */
const defined = <Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } => (value === undefined ? {} : ({ [key]: value } as { [K in Key]: Value }));

function serverOptions(given: Given, models: ModelSource[], engine: EngineChoice): ServerOptions {
  const flag = <Value>(name: string) => given[name] as Value | undefined;
  const [certFile, keyFile] = [flag<string>('tlsCert'), flag<string>('tlsKey')];
  if ((certFile === undefined) !== (keyFile === undefined)) throw new UserError('HTTPS needs both --tls-cert and --tls-key.', { exitCode: 2 });
  const limits = Object.fromEntries(LIMIT_FLAGS.flatMap(([text, limit]) => {
    const value = given[camelCase(text)];
    return value === undefined ? [] : [[limit, value]];
  })) as Partial<Limits>;
  return {
    models, engine, limits,
    insecure: given['insecure'] === true,
    canaryBounds: { ...defined('minRequests', flag<number>('canaryMinRequests')), ...defined('maxErrorRate', flag<number>('canaryMaxErrorRate')), ...defined('maxClassShare', flag<number>('canaryMaxClassShare')) },
    ...(certFile !== undefined && keyFile !== undefined ? { tls: { certFile, keyFile } } : {}),
    ...defined('keysFile', flag<string>('keys')), ...defined('corsOrigins', flag<string[]>('corsOrigin')), ...defined('precision', flag<PrecisionChoice>('dtype') ?? flag<PrecisionChoice>('precision')), ...defined('threads', flag<number>('threads')),
    ...sameNamed(given, ['host', 'port', 'maxBatch', 'maxQueue', 'maxDelayMs', 'decodeThreads', 'requestsPerMinute', 'modelsRoot', 'replicas']),
  };
}

const camelCase = (flag: string): string => flag.replace(/^--/, '').replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The options that are called as their flags are. */
const sameNamed = (given: Given, names: readonly (keyof ServerOptions)[]): Partial<ServerOptions> => Object.fromEntries(names.filter((name) => given[name] !== undefined).map((name) => [name, given[name]]));

/**
 * Waits for the models, then for a signal, then for the answers that are under way. A second signal ends the process at once.
 * @param onReady called once every model is loaded and warm
 * @throws UserError when a model can't be loaded
 */
export async function untilStopped(server: RunningServer, how: StopOptions, onReady: () => Promise<void> | void): Promise<void> {
  let stopping = false, onSignal = () => undefined as void;
  const stopped = new Promise<void>((resolve, reject) => {
    onSignal = () => {
      if (stopping) process.exit(130);
      stopping = true;
      remark('Stopping once every request is answered; once more to stop at once.');
      server.stop(how).then(resolve, reject);
    };
  });
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await Promise.race([server.ready, stopped]);
    if (!stopping) await onReady();
    await stopped;
  } catch (error) {
    if (stopping) return await stopped;
    await server.stop({ deadlineMs: 0 });
    throw error;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}
