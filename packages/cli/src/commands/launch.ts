import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { UserError } from '@chameleon/core';
import { type LocalWorkers, kubernetesManifests, readHosts, slurmScript, sshWorkers } from '@chameleon/trainer';
import type { Command } from 'commander';
import { finishRun, startMeasuredCoordinator, startSshWorkers } from '../distributed-run.js';
import { atLeastOne, readGroup, readMetrics, readSecurity, withGroup, withMetrics } from '../distributed-settings.js';
import { interruption } from '../interruption.js';
import { print, remark, runNarrator } from '../output.js';
import { ENGINE_SETTINGS, type Given, RUN_SETTINGS, withSettings } from '../settings.js';
import { placeOfRun } from './coordinator.js';

const PORT = 50_051, METRICS_PORT = 9_464;

export function addLaunch(program: Command): void {
  const launch = program.command('launch').description('Start a run over many machines.');
  withMetrics(withGroup(withSettings(launch.command('ssh'), [...RUN_SETTINGS, ...ENGINE_SETTINGS])))
    .description('A coordinator here, workers over OpenSSH; their words come back with their names.')
    .requiredOption('--hosts <file>', 'YAML: hosts, each with host, folder, and if need be user, port, workers, data, threads')
    .requiredOption('--listen <address>', "host:port of this machine that the hosts reach")
    .option('--config <file>', 'a run.yaml; flags and environment win over it')
    .option('--min-workers <n>', 'train with so many at least', atLeastOne, 1)
    .option('--join-token-file <file>', 'holds the join token (default: the environment variable CHAMELEON_JOIN_TOKEN, else one is made)')
    .option('--out <folder>', 'where run directories go', 'runs')
    .option('--run-dir <folder>', 'the run directory itself, which must not exist')
    .option('--resume <run>', 'go on with a run: its directory, name, or last')
    .option('--dry-run', 'print what would be started')
    .addHelpText('after', '\nExample:\n  chameleon launch ssh --hosts hosts.yaml --listen 10.0.0.5:50051 --data /shared/photos')
    .action((given: Given) => launchSsh(given));
  launch
    .command('slurm [coordinator...]')
    .description('Write a batch script for Slurm and submit it. What comes after -- is for `chameleon coordinator`.')
    .requiredOption('--nodes <n>', 'machines', atLeastOne)
    .option('--gpus-per-node <n>', 'GPUs of each, with a worker each (default: none)', atLeastOne)
    .option('--cpus-per-worker <n>', 'processors of each worker', atLeastOne, 8)
    .option('--time <limit>', "Slurm's time limit")
    .option('--partition <name>', "Slurm's partition")
    .option('--port <n>', 'where the coordinator listens', atLeastOne, PORT)
    .option('--chdir <folder>', 'where Chameleon lies on the nodes (default: this folder)')
    .option('--log <file>', "the job's words; %j stands for its number", 'chameleon-%j.log')
    .option('--dry-run', 'print the script instead of submitting it')
    .addHelpText('after', '\nExample:\n  chameleon launch slurm --nodes 4 --gpus-per-node 8 -- --data /shared/photos --out /shared/runs')
    .action((args: string[], given: Given) => launchSlurm(args, given));
  launch
    .command('kubernetes [coordinator...]')
    .description('Write manifests for JobSet, and apply them if asked. What comes after -- is for `chameleon coordinator`.')
    .requiredOption('--workers <n>', 'workers', atLeastOne)
    .requiredOption('--image <name>', 'a container image whose entry point is chameleon')
    .option('--name <name>', 'of the set and its service', 'chameleon')
    .option('--namespace <name>', 'where it goes', 'default')
    .option('--gpus-per-worker <n>', 'NVIDIA GPUs of each (default: none)', atLeastOne)
    .option('--cpu <quantity>', 'of each worker', '4')
    .option('--memory <quantity>', 'of each worker', '8Gi')
    .option('--claim <name>', 'a volume claim that all can write, mounted at /data', 'chameleon-data')
    .option('--token-secret <name>', 'a secret whose key `token` is the join token', 'chameleon-join-token')
    .option('--apply', 'hand the manifests to kubectl')
    .option('--dry-run', 'print the manifests, which is what happens without --apply too')
    .addHelpText('after', '\nExample:\n  chameleon launch kubernetes --workers 16 --image registry.example/chameleon -- --data /data/photos --out /data/runs')
    .action((args: string[], given: Given) => launchKubernetes(args, given));
}

async function launchSsh(given: Given): Promise<void> {
  const workers = sshWorkers(await readHosts(given['hosts'] as string), given['listen'] as string);
  if (given['dryRun'] === true) {
    print(`coordinator on ${given['listen'] as string}`);
    return workers.forEach(({ id, command: [file, args] }) => print(`${id}: ${file} ${args.map((arg) => (/\s/.test(arg) ? JSON.stringify(arg) : arg)).join(' ')}`));
  }
  using stop = interruption();
  const { place, epochs, engine } = await placeOfRun(given);
  const security = await readSecurity(given);
  const token = security.token ?? randomBytes(32).toString('hex');
  const running = await startMeasuredCoordinator(place, { listen: given['listen'] as string, security: { ...security, token }, minWorkers: given['minWorkers'] as number, maxWorkers: workers.length, ...readGroup(given, engine) }, { backend: engine.description, observe: runNarrator(epochs), signal: stop.signal }, readMetrics(given));
  let started: LocalWorkers | null = null;
  try {
    started = startSshWorkers(workers, token);
    await finishRun(await Promise.race([running.outcome, started.lost]), false);
  } finally {
    await started?.close();
    await running.close();
  }
}

async function launchSlurm(coordinatorArgs: string[], given: Given): Promise<void> {
  const script = slurmScript({
    nodes: given['nodes'] as number,
    gpusPerNode: (given['gpusPerNode'] as number | undefined) ?? 0,
    cpusPerWorker: given['cpusPerWorker'] as number,
    time: (given['time'] as string | undefined) ?? null,
    partition: (given['partition'] as string | undefined) ?? null,
    port: given['port'] as number,
    folder: (given['chdir'] as string | undefined) ?? null,
    log: given['log'] as string,
    coordinatorArgs,
  });
  if (given['dryRun'] === true) return print(script.trimEnd());
  print(await hand('sbatch', ['--parsable'], script, 'Slurm'));
}

async function launchKubernetes(coordinatorArgs: string[], given: Given): Promise<void> {
  const manifests = kubernetesManifests({
    name: given['name'] as string,
    namespace: given['namespace'] as string,
    image: given['image'] as string,
    workers: given['workers'] as number,
    gpusPerWorker: (given['gpusPerWorker'] as number | undefined) ?? 0,
    cpu: given['cpu'] as string,
    memory: given['memory'] as string,
    claim: given['claim'] as string,
    tokenSecret: given['tokenSecret'] as string,
    port: PORT,
    metricsPort: METRICS_PORT,
    coordinatorArgs,
  });
  if (given['apply'] !== true || given['dryRun'] === true) return print(manifests.trimEnd());
  print(await hand('kubectl', ['apply', '-f', '-'], manifests, 'kubectl'));
}

/** Gives a program its input; what it says comes back. @throws UserError with its words */
function hand(program: string, args: string[], input: string, called: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, (error, stdout, stderr) => {
      if (!error) return resolve(stdout.trim());
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      reject(new UserError(missing ? `${program} is not on this machine. Run this where ${called} is, or print what it would get with --dry-run.` : `${program} refused: ${(stderr || error.message).trim()}`, { cause: error }));
    });
    child.stdin!.on('error', () => undefined).end(input);
    remark(`handing ${input.split('\n').length} lines to ${program}`);
  });
}
