import { execFileSync, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { temporaryFolder } from '../testing/small-run.js';
import { until } from '../testing/processes.js';
import { kubernetesManifests } from './kubernetes.js';
import { launchLocal } from './local.js';
import { slurmScript } from './slurm.js';
import { quote, readHosts, sshWorkers } from './ssh.js';

const coordinatorArgs = ['--data', "/shared/Anna's photos", '--epochs', '3'];

describe('processes that are started', () => {
  it('have their first line, their places taken over when lost, and end with their input', async () => {
    const lines: [number, string][] = [];
    const script = 'read -r word; echo "$word $0" >&2; if [ "$0" = first ]; then exit 3; fi; cat > /dev/null; echo over >&2';
    const workers = launchLocal({ count: 2, command: (slot, attempt) => ['sh', ['-c', script, slot === 0 && attempt === 0 ? 'first' : `place-${slot}`]], env: process.env, firstLine: 'secret', maxRestarts: 1, onLine: (slot, line) => lines.push([slot, line]) });
    await until('the second has its place', () => lines.some(([slot, line]) => slot === 0 && line === 'secret place-0'));
    expect(lines).toContainEqual([0, 'ended with code 3']);
    expect(workers.pids().every((pid) => pid !== null)).toBe(true);
    await workers.close();
    expect(lines.filter(([, line]) => line === 'over')).toHaveLength(2);
  });

  it('are given up when none is left', async () => {
    const workers = launchLocal({ count: 2, command: () => ['sh', ['-c', 'echo the disk is full >&2; exit 1']], env: process.env, maxRestarts: 0, onLine: () => undefined });
    await expect(workers.lost).rejects.toThrow('All 2 workers were lost. The last one said: the disk is full');
    await workers.close();
  });
});

describe('ssh', () => {
  it('starts each host’s workers with a token that no process list shows', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'hosts.yaml');
    await writeFile(file, 'hosts:\n  - { host: gpu1, user: ann, port: 2222, workers: 2, folder: "/opt/it\'s here" }\n  - { host: 10.0.0.7, folder: /opt/chameleon, data: /photos }\n');
    const workers = sshWorkers(await readHosts(file), '10.0.0.5:50051');
    expect(workers.map(({ id }) => id)).toEqual(['gpu1/0', 'gpu1/1', '10.0.0.7']);
    const [ssh, args] = workers[0]!.command;
    expect([ssh, ...args.slice(0, -1)].join(' ')).toBe('ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -p 2222 -- ann@gpu1');
    // The shell itself says what it would run, in the folder and with the token of its input.
    const script = args.at(-1)!.replace("cd '/opt/it'\\''s here'", `cd ${quote(folder.path)}`).replace('exec npx', 'echo "$CHAMELEON_JOIN_TOKEN" npx');
    expect(spawnSync('sh', ['-c', script], { input: 'the token\nmore' }).stdout.toString().trim()).toBe('the token npx --no-install chameleon worker --attached --coordinator 10.0.0.5:50051 --node gpu1/0 --share 0/2');
    expect(workers[2]!.command[1].at(-1)).toContain('--data /photos');
  });

  it('refuses hosts that would be read as something else', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'hosts.yaml');
    for (const [text, said] of [['hosts: [{ host: "-oProxyCommand=x", folder: / }]', /hosts\.0\.host/], ['hosts: [{ host: a }]', /hosts\.0\.folder/], ['hosts: []', /hosts/]] as const) {
      await writeFile(file, text);
      await expect(readHosts(file)).rejects.toThrow(said);
    }
    await expect(readHosts(join(folder.path, 'none.yaml'))).rejects.toThrow(/can't be read \(ENOENT\)/);
  });

  it('quotes words for the shell', () => {
    for (const word of ['plain', "it's", 'two words', '$HOME `x` "y"', '']) expect(execFileSync('sh', ['-c', `printf %s ${quote(word)}`]).toString()).toBe(word);
  });
});

describe('slurm', () => {
  it('writes a script that bash accepts, with a worker a GPU, and a coordinator whose end is the job’s', () => {
    const script = slurmScript({ nodes: 4, gpusPerNode: 8, cpusPerWorker: 6, time: '12:00:00', partition: 'gpu', port: 50051, folder: null, log: 'chameleon-%j.log', coordinatorArgs });
    expect(spawnSync('bash', ['-n'], { input: script }).stderr.toString()).toBe('');
    for (const line of ['#SBATCH --nodes=4', '#SBATCH --ntasks-per-node=8', '#SBATCH --gpus-per-node=8', '#SBATCH --time=12:00:00', '#SBATCH --partition=gpu', '#SBATCH --no-kill', '--cpu-bind=cores']) expect(script).toContain(line);
    expect(script).toContain(`--data '/shared/Anna'\\''s photos' --epochs 3 &`);
    expect(slurmScript({ nodes: 1, gpusPerNode: 0, cpusPerWorker: 2, time: null, partition: null, port: 1, folder: null, log: 'x', coordinatorArgs: [] })).not.toMatch(/gpus|--time|--partition/);
  });
});

describe('kubernetes', () => {
  it('writes a headless service and a JobSet with restarts, probes, resources and scrape annotations', () => {
    const text = kubernetesManifests({ name: 'run1', namespace: 'ml', image: 'registry.example/chameleon:1', workers: 16, gpusPerWorker: 1, cpu: '4', memory: '8Gi', claim: 'photos', tokenSecret: 'join', port: 50051, metricsPort: 9464, coordinatorArgs });
    const [service, set] = parseAllDocuments(text).map((document) => document.toJS() as Record<string, never>);
    expect(service).toMatchObject({ kind: 'Service', spec: { clusterIP: 'None' } });
    const { spec } = set as unknown as { spec: { successPolicy: object; replicatedJobs: { name: string; template: { spec: { completions: number; template: { metadata: object; spec: { restartPolicy: string; containers: { args: string[]; env: object[]; resources: object; readinessProbe?: object }[] } } } } }[] } };
    expect(spec.successPolicy).toEqual({ operator: 'All', targetReplicatedJobs: ['coordinator'] });
    const [coordinator, worker] = spec.replicatedJobs.map(({ template }) => template.spec);
    expect(coordinator!.template.spec.containers[0]).toMatchObject({ readinessProbe: { tcpSocket: { port: 50051 } }, args: expect.arrayContaining(coordinatorArgs) as string[] });
    expect(worker).toMatchObject({ completions: 16, template: { metadata: { annotations: { 'prometheus.io/scrape': 'true' } }, spec: { restartPolicy: 'OnFailure', containers: [{ resources: { limits: { 'nvidia.com/gpu': '1' } } }] } } });
    expect(JSON.stringify(worker!.template.spec.containers[0]!.env)).toContain('run1-coordinator-0-0.run1:50051');
    expect(text).toContain('secretKeyRef');
  });
});
