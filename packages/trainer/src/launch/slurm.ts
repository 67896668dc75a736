import { quote } from './ssh.js';

export interface SlurmOptions {
  nodes: number;
  /** 0: workers compute on processors. */
  gpusPerNode: number;
  cpusPerWorker: number;
  /** Slurm's form: minutes, or hours:minutes:seconds. */
  time: string | null;
  partition: string | null;
  port: number;
  /** Where the job runs: a folder that all nodes have Chameleon in; by default the one that it is submitted from. */
  folder: string | null;
  /** The file that the job's words go to; %j is its number. */
  log: string;
  /** Of `chameleon coordinator`, without where it listens. */
  coordinatorArgs: readonly string[];
}

/**
 * A batch script: the coordinator on the first node, a worker a GPU (or a node) on all, each on processors of its own. A worker that dies ends nothing else; the job ends
 * with the coordinator, whose exit code is the job's.
 */
export function slurmScript({ nodes, gpusPerNode, cpusPerWorker, time, partition, port, folder, log, coordinatorArgs }: SlurmOptions): string {
  const tasks = Math.max(1, gpusPerNode);
  const directives = [
    '--job-name=chameleon', `--nodes=${nodes}`, `--ntasks-per-node=${tasks}`, `--cpus-per-task=${cpusPerWorker}`,
    ...(gpusPerNode > 0 ? [`--gpus-per-node=${gpusPerNode}`] : []), ...(time ? [`--time=${time}`] : []), ...(partition ? [`--partition=${partition}`] : []), ...(folder ? [`--chdir=${folder}`] : []),
    `--output=${log}`, '--no-kill', '--signal=B:TERM@60',
  ];
  return `#!/bin/bash
${directives.map((directive) => `#SBATCH ${directive}`).join('\n')}
set -euo pipefail
umask 077

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" bash -c 'hostname -I 2>/dev/null | cut -d " " -f 1')
export CHAMELEON_COORDINATOR="\${address:-$head}:${port}"
CHAMELEON_JOIN_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')
export CHAMELEON_JOIN_TOKEN

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" npx --no-install chameleon coordinator --listen "$CHAMELEON_COORDINATOR" ${coordinatorArgs.map(quote).join(' ')} &
coordinator=$!
# Slurm says TERM a minute before the end of the time: the run leaves a checkpoint.
trap 'kill -TERM "$coordinator" 2>/dev/null || true' TERM

srun --overlap --no-kill --kill-on-bad-exit=0 --cpu-bind=cores ${gpusPerNode > 0 ? '--gpus-per-task=1 ' : ''}npx --no-install chameleon worker --threads ${cpusPerWorker} --patience 120 &
workers=$!

code=0
wait "$coordinator" || code=$?
# A trapped signal ends the first wait: the coordinator itself is waited for.
while kill -0 "$coordinator" 2>/dev/null; do wait "$coordinator" && code=0 || code=$?; done
wait "$workers" || true
exit "$code"
`;
}
