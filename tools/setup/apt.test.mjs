import { describe, expect, it } from 'vitest';
import { aptByHand, aptCommands, installedPackages, missingPackages, unavailablePackages } from './apt.mjs';

const nothing = { installed: new Set(['libjpeg-dev']), compiler: true, debianLibtorch: false, addon: true, reference: false, unavailable: [] };

describe("dpkg's status", () => {
  it('names what is installed, not what was removed or is half there', () => {
    const status = [
      'Package: g++\nStatus: install ok installed\nPriority: optional',
      'Package: libtorch-dev\nStatus: deinstall ok config-files',
      'Package: libgloo-dev\nStatus: install ok half-configured',
      'Package: libdnnl-dev\nStatus: hold ok installed',
    ].join('\n\n');
    expect([...installedPackages(status)]).toEqual(['g++', 'libdnnl-dev']);
    expect(installedPackages('').size).toBe(0);
  });
});

describe('what apt should install', () => {
  it.each([
    ["nothing for a libtorch that isn't Debian's", {}, []],
    ['a compiler where there is none', { compiler: false }, ['g++']],
    ["all that goes with Debian's libtorch", { debianLibtorch: true, compiler: false, installed: new Set() }, ['libtorch-dev', 'libopenblas0-pthread', 'libgloo-dev', 'libdnnl-dev', 'libjpeg-dev', 'g++']],
    ['only what is missing', { debianLibtorch: true, installed: new Set(['libtorch-dev', 'libdnnl-dev', 'libjpeg-dev']) }, ['libopenblas0-pthread', 'libgloo-dev']],
    ["not what apt doesn't know", { debianLibtorch: true, installed: new Set(['libtorch-dev', 'libgloo-dev', 'libopenblas0-pthread', 'libjpeg-dev']), unavailable: ['libdnnl-dev'] }, []],
    ['what tests compare with alone, for wasm', { addon: false, compiler: false, debianLibtorch: true, reference: true }, ['python3-torch', 'python3-torchvision', 'chromium', 'prometheus', 'openssh-server', 'slurm-wlm', 'munge', 'iproute2']],
  ])('is %s', (_what, facts, expected) => {
    expect(missingPackages({ ...nothing, ...facts })).toEqual(expected);
  });
});

describe("apt's output", () => {
  it("names the packages that it doesn't know, each once", () => {
    const output = `Reading package lists...
Package libdnnl-dev is not available, but is referred to by another package.
E: Unable to locate package libgloo-dev
E: Package 'libdnnl-dev' has no installation candidate
E: Unable to locate package libgloo-dev`;
    expect(unavailablePackages(output)).toEqual(['libgloo-dev', 'libdnnl-dev']);
    expect(unavailablePackages('E: Could not get lock /var/lib/dpkg/lock-frontend')).toEqual([]);
  });
});

describe("apt's commands", () => {
  it('are without sudo for root, and begin with what an interrupted dpkg left', () => {
    const commands = aptCommands(['g++'], { root: true, interrupted: true });
    expect(commands.map((command) => command.filter((word) => /^(sudo|dpkg|apt-get|update|install|g\+\+)$/.test(word)).join(' '))).toEqual(['dpkg', 'apt-get update', 'apt-get install g++']);
  });

  it('ask sudo for no password', () => {
    const commands = aptCommands(['g++'], { root: false, interrupted: false });
    expect(commands).toHaveLength(2);
    for (const command of commands) expect(command.slice(0, 2)).toEqual(['sudo', '-n']);
  });

  it('are one line by hand', () => {
    expect(aptByHand(['g++', 'libtorch-dev'])).toBe('sudo apt-get install -y g++ libtorch-dev');
  });
});
