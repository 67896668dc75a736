/** What the addon can't do without, but for a compiler of the user's own. */
export const ESSENTIAL = ['libtorch-dev', 'g++'];
/** libopenblas0-pthread: fast matrix products; libgloo-dev: headers of the exchange between processes; libdnnl-dev: fused convolutions. */
const WITH_LIBTORCH = ['libtorch-dev', 'libopenblas0-pthread', 'libgloo-dev', 'libdnnl-dev'];
/** What decodes JPEG. */
const WITH_ADDONS = ['libjpeg-dev'];
const REFERENCE = ['python3-torch', 'python3-torchvision', 'chromium', 'prometheus', 'openssh-server', 'slurm-wlm', 'munge', 'iproute2'];

/**
 * The names of the packages that are installed, out of /var/lib/dpkg/status. One that was removed or is half there doesn't count.
 * @param {string} status
 * @returns {Set<string>}
 */
export function installedPackages(status) {
  const names = new Set();
  for (const paragraph of status.split(/\n\n+/)) {
    if (!/^Status: \S+ ok installed$/m.test(paragraph)) continue;
    const name = /^Package: (\S+)$/m.exec(paragraph)?.[1];
    if (name) names.add(name);
  }
  return names;
}

/**
 * Which packages apt should install, in the order in which a person would name them.
 * @param {{ installed: Set<string>, compiler: boolean, debianLibtorch: boolean, addon: boolean, reference: boolean, unavailable: string[] }} facts
 *   `compiler`: there is one already; `addon`: one is wanted; `debianLibtorch`: Debian's is the one it is compiled against;
 *   `reference`: what tests compare with is wanted; `unavailable`: names that apt doesn't know on this system
 * @returns {string[]}
 */
export function missingPackages({ installed, compiler, debianLibtorch, addon, reference, unavailable }) {
  const wanted = [
    ...(addon && debianLibtorch ? WITH_LIBTORCH : []),
    ...(addon ? WITH_ADDONS : []),
    ...(addon && !compiler ? ['g++'] : []),
    ...(reference ? REFERENCE : []),
  ];
  return wanted.filter((name) => !installed.has(name) && !unavailable.includes(name));
}

/**
 * The packages that apt says don't exist here, out of what `apt-get install` printed.
 * @param {string} output
 * @returns {string[]}
 */
export function unavailablePackages(output) {
  const patterns = [/Unable to locate package (\S+)/g, /Package '?([^\s']+)'? has no installation candidate/g];
  return [...new Set(patterns.flatMap((pattern) => [...output.matchAll(pattern)].map((match) => match[1])))];
}

/**
 * apt's commands, each a program and its arguments: what an interrupted dpkg left, the lists, the packages.
 * @param {string[]} packages
 * @param {{ root: boolean, interrupted: boolean }} options root: we are; else through sudo without a password
 * @returns {string[][]}
 */
export function aptCommands(packages, { root, interrupted }) {
  const asRoot = root ? [] : ['sudo', '-n'];
  const environment = ['env', 'DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C.UTF-8'];
  const patience = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  return [
    ...(interrupted ? [[...asRoot, ...environment, 'dpkg', '--configure', '-a']] : []),
    [...asRoot, ...environment, 'apt-get', ...patience, 'update'],
    [...asRoot, ...environment, 'apt-get', ...patience, 'install', '--yes', '--no-install-recommends', ...packages],
  ];
}

/** What a person types to install them. */
export function aptByHand(packages) {
  return `sudo apt-get install -y ${packages.join(' ')}`;
}
