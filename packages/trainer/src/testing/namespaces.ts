import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Hosts of a test's own: network namespaces on one bridge. They need root and `ip` (Debian: iproute2). */
export const hasNamespaces = process.getuid?.() === 0 && existsSync('/usr/sbin/ip') && works('ip', 'netns', 'add', `try-${process.pid}`) && works('ip', 'netns', 'del', `try-${process.pid}`);

function works(...command: string[]): boolean {
  try {
    ip(command);
    return true;
  } catch {
    return false;
  }
}

function ip([program, ...args]: readonly string[]): void {
  execFileSync(`/usr/sbin/${program}`, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

export interface TestHost {
  /** The namespace, for `ip netns exec`. */
  readonly name: string;
  readonly address: string;
  /** Pulls its cable, or puts it back. */
  cut(): void;
  mend(): void;
  /** Lets it send so much at most, in Mbit/s. */
  limit(megabits: number): void;
}

/** So many hosts that reach each other, and nothing else. */
export function testHosts(count: number): { hosts: TestHost[] } & Disposable {
  const prefix = `ch${process.pid}`, hub = `${prefix}-hub`, made: string[] = [];
  const namespace = (name: string) => {
    ip(['ip', 'netns', 'add', name]);
    made.push(name);
    ip(['ip', '-n', name, 'link', 'set', 'lo', 'up']);
  };
  const dispose = () => {
    for (const name of made.reverse()) ip(['ip', 'netns', 'del', name]);
    made.length = 0;
  };
  try {
    namespace(hub);
    ip(['ip', '-n', hub, 'link', 'add', 'bridge', 'type', 'bridge']);
    ip(['ip', '-n', hub, 'link', 'set', 'bridge', 'up']);
    const hosts = Array.from({ length: count }, (_, i): TestHost => {
      const name = `${prefix}-${i}`, address = `10.231.77.${i + 1}`;
      namespace(name);
      ip(['ip', '-n', hub, 'link', 'add', `port${i}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
      ip(['ip', '-n', hub, 'link', 'set', `port${i}`, 'master', 'bridge', 'up']);
      ip(['ip', '-n', name, 'address', 'add', `${address}/24`, 'dev', 'eth0']);
      ip(['ip', '-n', name, 'link', 'set', 'eth0', 'up']);
      return {
        name, address,
        // At the bridge's end: the host itself sees silence, as behind a dead switch.
        cut: () => ip(['ip', '-n', hub, 'link', 'set', `port${i}`, 'nomaster']),
        mend: () => ip(['ip', '-n', hub, 'link', 'set', `port${i}`, 'master', 'bridge']),
        limit: (megabits) => ip(['tc', '-n', name, 'qdisc', 'replace', 'dev', 'eth0', 'root', 'tbf', 'rate', `${megabits}mbit`, 'burst', '256k', 'latency', '50ms']),
      };
    });
    return { hosts, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}
