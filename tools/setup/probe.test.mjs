import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { probeLibtorch } from './probe.mjs';
import { temporaryFolder, writeTree } from './testing.mjs';

const VERSION = 'include/torch/csrc/api/include/torch/version.h';
const macros = (major, minor) => `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n#define TORCH_VERSION_PATCH 1\n`;
const libtorch = { 'include/ATen/ATen.h': '', [VERSION]: macros(2, 7), 'lib/libtorch_cpu.so': '' };

/** Files in a fresh folder, and what is found when LIBTORCH, pip's torch and the system's root point into it. */
function probesOf(files, places) {
  const root = temporaryFolder();
  writeTree(root, files);
  const at = (path) => (path === undefined ? undefined : join(root, path));
  return { root, probes: probeLibtorch({ env: { LIBTORCH: at(places.LIBTORCH) }, pipTorch: at(places.pip) ?? null, systemRoot: join(root, 'system') }) };
}

const under = (folder, files) => Object.fromEntries(Object.entries(files).map(([path, text]) => [`${folder}/${path}`, text]));

describe('a look for libtorch', () => {
  it('finds nothing on a bare machine, and says so of each place', () => {
    const { probes } = probesOf({}, {});
    expect(probes).toEqual([
      { kind: 'LIBTORCH', absent: 'LIBTORCH is not set' },
      { kind: 'pip', absent: 'python3 has no torch' },
      { kind: 'debian', absent: "Debian's libtorch-dev is not installed" },
    ]);
  });

  it.each([
    ['an unpacked libtorch', 'opt', 'opt'],
    ['a folder that holds a torch of pip', 'opt/torch', 'opt'],
  ])('finds %s through LIBTORCH', (_what, home, variable) => {
    const { root, probes } = probesOf(under(home, libtorch), { LIBTORCH: variable });
    const folder = join(root, home);
    expect(probes[0]).toEqual({ kind: 'LIBTORCH', libtorch: { kind: 'LIBTORCH', version: '2.7.1', include: join(folder, 'include'), lib: join(folder, 'lib'), from: `LIBTORCH (${folder})` } });
  });

  it("finds pip's, and the version where 2.10 has it", () => {
    const files = { ...libtorch, [VERSION]: '#include <torch/headeronly/version.h>\n', 'include/torch/headeronly/version.h': macros(2, 10) };
    expect(probesOf(under('site/torch', files), { pip: 'site/torch' }).probes[1].libtorch).toMatchObject({ kind: 'pip', version: '2.10.1' });
  });

  it.each([
    ['while libtorch-dev is installed', true],
    ['while its links lead nowhere', false],
  ])("doesn't take Debian's python3-torch for pip's, %s", (_what, installed) => {
    const root = temporaryFolder();
    const torch = join(root, 'dist-packages', 'torch');
    writeTree(root, { 'dist-packages/torch/include/README': '', 'dist-packages/torch/lib/libtorch_cpu.so': '', 'usr/lib/x86_64-linux-gnu/libtorch_cpu.so': '' });
    if (installed) writeTree(root, { 'usr/include/ATen/ATen.h': '', [`usr/${VERSION}`]: macros(1, 13) });
    for (const name of ['ATen', 'torch']) symlinkSync(join(root, 'usr', 'include', name), join(torch, 'include', name));
    const probes = probeLibtorch({ env: {}, pipTorch: torch, systemRoot: root });
    expect(probes[1].absent).toMatch(/python3's torch \(.*\) has no headers of its own/);
    expect('libtorch' in probes[2]).toBe(installed);
  });

  it("finds Debian's, with its libraries under the machine's triple", () => {
    const { root, probes } = probesOf({ ...under('system/usr', { 'include/ATen/ATen.h': '', [VERSION]: macros(1, 13) }), 'system/usr/lib/x86_64-linux-gnu/libtorch_cpu.so': '' }, {});
    expect(probes[2].libtorch).toMatchObject({ kind: 'debian', version: '1.13.1', lib: join(root, 'system/usr/lib/x86_64-linux-gnu'), include: join(root, 'system/usr/include') });
  });

  it.each([
    ['headers', { 'opt/lib/libtorch_cpu.so': '' }, /no include\/ATen/],
    ['libraries', under('opt', { 'include/ATen/ATen.h': '', [VERSION]: macros(2, 7) }), /no libtorch_cpu\.so in .*opt\/lib/],
    ['a version', under('opt', { 'include/ATen/ATen.h': '', 'lib/libtorch_cpu.so': '' }), /does not say its version/],
    ['anything', {}, /LIBTORCH \(.*opt\) has no include\/ATen/],
  ])('says of a LIBTORCH without %s what is missing', (_what, files, expected) => {
    expect(probesOf(files, { LIBTORCH: 'opt' }).probes[0].absent).toMatch(expected);
  });
});
