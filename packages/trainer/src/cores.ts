import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/**
 * Which processors a process keeps to. Workers of one machine that share its processors take turns on each and wait for one another in every
 * operator; each with processors of its own waits in the exchange alone.
 */

/** The numbers of `0-3,8`, as the kernel and taskset write it. */
export function parseCores(list: string): number[] {
  return list.trim().split(',').filter((part) => part !== '').flatMap((part) => {
    const [from, to = from] = part.split('-').map(Number) as [number, number?];
    return Array.from({ length: to! - from! + 1 }, (_, i) => from! + i);
  });
}

export function formatCores(cores: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const core of [...cores].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last?.[1] === core - 1) last[1] = core;
    else runs.push([core, core]);
  }
  return runs.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}

/** The processors that this process may use, as the kernel lists them; null where it doesn't tell. */
export function allowedCores(): string | null {
  if (!existsSync('/proc/self/status')) return null;
  return /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? null;
}

/**
 * The processors of one of `count` that share them: parts that differ by one at most, have none in common, and together are all.
 * @param cores in the order in which they lie together
 * @returns null where there are fewer than one each
 */
export function shareOfCores(cores: readonly number[], index: number, count: number): number[] | null {
  if (cores.length < count) return null;
  return cores.slice(Math.floor((index * cores.length) / count), Math.floor(((index + 1) * cores.length) / count));
}

/** Sockets and cores one after the other, a core's threads side by side: numbers say nothing of that. */
export function asTheyLie(cores: readonly number[], placeOf: (core: number) => [socket: number, core: number] = placeInMachine): number[] {
  const places = new Map(cores.map((core) => [core, placeOf(core)]));
  return [...cores].sort((a, b) => places.get(a)![0] - places.get(b)![0] || places.get(a)![1] - places.get(b)![1] || a - b);
}

function placeInMachine(core: number): [number, number] {
  const read = (name: string, otherwise: number): number => {
    const path = `/sys/devices/system/cpu/cpu${core}/topology/${name}`;
    return existsSync(path) ? Number(readFileSync(path, 'utf8')) : otherwise;
  };
  return [read('physical_package_id', 0), read('core_id', core)];
}

/**
 * Keeps this process, all its threads and those to come to its share of the processors that it may use. To be called before an engine counts them.
 * @returns how many these are; null where nothing was changed: not Linux, no taskset (util-linux), or fewer processors than shares
 */
export function keepToShare(index: number, count: number): number | null {
  const allowed = allowedCores(), own = allowed === null ? null : shareOfCores(asTheyLie(parseCores(allowed)), index, count);
  if (own === null) return null;
  try {
    execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', formatCores(own), String(process.pid)], { stdio: 'ignore', timeout: 10_000 });
  } catch {
    return null;
  }
  return own.length;
}
