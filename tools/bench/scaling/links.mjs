import { execFileSync } from 'node:child_process';

/** What a path of TCP over Ethernet carries of its bandwidth: 1,448 bytes of a frame of 1,514. */
export const PAYLOAD = 1448 / 1514;

/**
 * Two hosts of this machine's own, network namespaces on a switch whose ports are as fast as one says. Needs root, `ip` and `tc`.
 * @returns {{ hosts: { namespace: string, address: string }[], shape: (link: { megabits: number | null }) => void, dispose: () => void }}
 */
export function joinHosts() {
  const prefix = `chb${process.pid}`, hub = `${prefix}-hub`, made = [];
  const namespace = (name) => {
    ip('netns', 'add', name);
    made.push(name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
  };
  const dispose = () => {
    for (const name of made.splice(0).reverse()) ip('netns', 'del', name);
  };
  try {
    namespace(hub);
    ip('-n', hub, 'link', 'add', 'bridge', 'type', 'bridge');
    ip('-n', hub, 'link', 'set', 'bridge', 'up');
    const hosts = [0, 1].map((i) => {
      const host = { namespace: `${prefix}-${i}`, address: `10.231.78.${i + 1}` };
      namespace(host.namespace);
      ip('-n', hub, 'link', 'add', `port${i}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host.namespace);
      ip('-n', hub, 'link', 'set', `port${i}`, 'master', 'bridge', 'up');
      ip('-n', host.namespace, 'address', 'add', `${host.address}/24`, 'dev', 'eth0');
      ip('-n', host.namespace, 'link', 'set', 'eth0', 'up');
      return host;
    });
    return { hosts, dispose, shape: (link) => hosts.forEach((_, i) => shapePort(hub, `port${i}`, link)) };
  } catch (error) {
    dispose();
    throw new Error(`Two hosts can't be had on this machine (root, ip and tc are needed; Debian: iproute2): ${error.message}`, { cause: error });
  }
}

/** At the switch, where no sender's socket counts what is under way any more: held back at the sender, TCP would send less than the link takes. */
function shapePort(hub, port, { megabits }) {
  if (megabits === null) run('tc', '-n', hub, 'qdisc', 'replace', 'dev', port, 'root', 'pfifo', 'limit', '1000');
  else run('tc', '-n', hub, 'qdisc', 'replace', 'dev', port, 'root', 'tbf', 'rate', `${megabits}mbit`, 'burst', '256k', 'limit', '4m');
}

const ip = (...args) => run('ip', ...args);
const run = (program, ...args) => void execFileSync(`/usr/sbin/${program}`, args, { stdio: ['ignore', 'ignore', 'pipe'] });
