import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Real servers that a test starts for itself, on this machine alone. */

export const SSHD = '/usr/sbin/sshd', SLURM = ['/usr/sbin/munged', '/usr/sbin/slurmctld', '/usr/sbin/slurmd'];
const isRoot = process.getuid?.() === 0;
export const hasSshd = isRoot && existsSync(SSHD);
export const hasSlurm = isRoot && SLURM.every((path) => existsSync(path));

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
  })));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function ready(what: string, isSo: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 30_000; !isSo(); await sleep(100)) if (performance.now() > endMs) throw new Error(`${what} did not come up`);
}

const succeeds = (program: string, args: string[], env?: NodeJS.ProcessEnv): boolean => {
  try {
    execFileSync(program, args, { stdio: 'ignore', ...(env ? { env } : {}) });
    return true;
  } catch {
    return false;
  }
};

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await ended;
  clearTimeout(timer);
}

export interface SshServer extends AsyncDisposable {
  port: number;
}

export interface SshServers extends AsyncDisposable {
  /** A configuration of ssh's with the user's key and the servers' own. */
  config: string;
  /** Another server, whose shells have the environment given: `PATH=…`. */
  start(environment?: string): Promise<SshServer>;
}

/** OpenSSH on the loopback, with keys of its own, in a folder. */
export async function sshServers(folder: string): Promise<SshServers> {
  await mkdir('/run/sshd', { recursive: true });
  const at = (name: string) => join(folder, name);
  for (const name of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(name)]);
  execFileSync('cp', [at('user.pub'), at('authorized')]);
  await writeFile(at('config'), `Host *\n  IdentityFile ${at('user')}\n  IdentitiesOnly yes\n  UserKnownHostsFile ${at('known')}\n  StrictHostKeyChecking accept-new\n`);
  const servers: ChildProcess[] = [];
  return {
    config: at('config'),
    async start(environment) {
      const [port] = await freePorts(1);
      const options = [`AuthorizedKeysFile=${at('authorized')}`, 'StrictModes=no', `PidFile=${at(`pid-${port}`)}`, 'ListenAddress=127.0.0.1', 'UsePAM=no', ...(environment ? [`SetEnv=${environment}`] : [])];
      const child = spawn(SSHD, ['-D', '-e', '-f', '/dev/null', '-p', String(port), '-h', at('host'), ...options.flatMap((option) => ['-o', option])], { stdio: 'ignore' });
      servers.push(child);
      await ready('sshd', () => succeeds('ssh', ['-F', at('config'), '-o', 'BatchMode=yes', '-p', String(port), '127.0.0.1', 'true']));
      return { port: port!, [Symbol.asyncDispose]: () => end(child) };
    },
    [Symbol.asyncDispose]: async () => void (await Promise.all(servers.map(end))),
  };
}

/** Slurm of one node, this machine, in a folder; gives the environment in which its commands find it. */
export async function slurm(folder: string): Promise<{ env: NodeJS.ProcessEnv } & AsyncDisposable> {
  const [ctld, node] = await freePorts(2), at = (name: string) => join(folder, name), name = hostname().split('.')[0];
  for (const sub of ['munge', 'state', 'spool']) await mkdir(at(sub), { mode: 0o755 });
  execFileSync('/usr/sbin/mungekey', ['--create', `--keyfile=${at('munge/key')}`]);
  const socket = at('munge/socket');
  await writeFile(at('slurm.conf'), `ClusterName=test
SlurmctldHost=${name}(127.0.0.1)
NodeName=${name} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=${socket}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
ReturnToService=2
MpiDefault=none
SlurmctldPort=${ctld}
SlurmdPort=${node}
StateSaveLocation=${at('state')}
SlurmdSpoolDir=${at('spool')}
SlurmctldPidFile=${at('slurmctld.pid')}
SlurmdPidFile=${at('slurmd.pid')}
SlurmctldLogFile=${at('slurmctld.log')}
SlurmdLogFile=${at('slurmd.log')}
`);
  const env = { ...process.env, SLURM_CONF: at('slurm.conf') }, servers: ChildProcess[] = [];
  const run = (program: string, args: string[]) => void servers.unshift(spawn(program, args, { env, stdio: 'ignore' }));
  const stop = async () => {
    for (const server of servers) await end(server);
  };
  try {
    run(SLURM[0]!, ['--foreground', '--force', `--key-file=${at('munge/key')}`, `--socket=${socket}`, `--pid-file=${at('munge/pid')}`, `--log-file=${at('munge/log')}`, `--seed-file=${at('munge/seed')}`]);
    await ready('munged', () => existsSync(socket));
    run(SLURM[1]!, ['-D']);
    run(SLURM[2]!, ['-D']);
    await ready('the node of Slurm', () => succeeds('sh', ['-c', 'test "$(sinfo --noheader --format=%t)" = idle'], env));
    return { env, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
