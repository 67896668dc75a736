import { chmodSync, existsSync, readFileSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chooseEngine } from './engine.mjs';
import { SetupError } from './errors.mjs';
import { bringTorch, hasNvidiaGpu, librariesToBring } from './pip.mjs';
import { probeLibtorch } from './probe.mjs';
import { createReport } from './report.mjs';
import { createLog, createRunner } from './run.mjs';
import { keptReport, temporaryFolder, writeTree } from './testing.mjs';

/** Stands in for python3 and its pip: makes a torch in the folder after --target, fails where `fails` is, and loads it unless `broken` is there. */
const PYTHON = `#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/calls"
if [ "$1" = -c ]; then if [ -e "$here/broken" ]; then echo "OSError: libcudart.so.13: cannot open shared object file"; exit 1; fi; exit 0; fi
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/torch/lib" && echo new > "$2/torch/lib/libtorch_cpu.so"
if [ -e "$here/fails" ]; then cat "$here/fails"; exit 1; fi
`;

/** A machine with that python3, and a way to bring torch into its folder. */
function machine(files = {}) {
  const root = temporaryFolder();
  writeTree(root, { 'bin/python3': PYTHON, ...files });
  chmodSync(join(root, 'bin', 'python3'), 0o755);
  const env = { ...process.env, PATH: `${join(root, 'bin')}${delimiter}${process.env.PATH}` };
  const run = createRunner({ cwd: root, env, log: createLog(join(root, 'log')), signal: new AbortController().signal });
  const { write } = keptReport();
  const folder = join(root, 'pip');
  return { root, folder, bring: () => bringTorch({ folder, gpu: true, env, run, report: createReport({ write, verbose: false, now: () => 0 }) }), calls: () => readFileSync(join(root, 'bin/calls'), 'utf8') };
}

const torchIn = (folder) => readFileSync(join(folder, 'torch/lib/libtorch_cpu.so'), 'utf8');

describe("pip's torch", () => {
  it('comes into its folder when it loads, in the place of one that was half installed', async () => {
    const { root, folder, bring, calls } = machine({ 'pip/torch/include/README': 'half', 'pip.part/torch/lib/old': 'interrupted' });
    await bring();
    expect(torchIn(folder)).toBe('new\n');
    expect(readdirSync(root).sort()).toEqual(['bin', 'log', 'pip']);
    expect(existsSync(join(folder, 'torch/include'))).toBe(false);
    expect(calls()).toMatch(/-m pip install .*--target .*pip\.part torch>=2\.1\n-c /);
  });

  it.each([
    ['pip fails', { 'bin/fails': 'ERROR: No matching distribution found for torch>=2.1\n' }, /pip could not install torch>=2\.1: ERROR: No matching distribution/, /--engine debian/],
    ['it does not load', { 'bin/broken': '' }, /does not load: OSError: libcudart\.so\.13/, /--engine debian/],
  ])('leaves the old one alone where %s, and says what to do', async (_what, files, message, remedy) => {
    const { folder, bring } = machine({ 'pip/torch/lib/libtorch_cpu.so': 'old', ...files });
    const error = await bring().catch((e) => e);
    expect(error).toBeInstanceOf(SetupError);
    expect(error.message).toMatch(message);
    expect(error.remedy).toMatch(remedy);
    expect(torchIn(folder)).toBe('old');
  });

  it.each([
    ['of CUDA 13, by the toolkit', ['libc10.so', 'libcudart.so.13', 'libcupti.so.13', 'libgomp.so.1'], ['filelock', 'cuda-toolkit[cudart,cupti]==13.2.2; platform_system == "Linux"'], ['nvidia-cuda-runtime==13.2.*', 'nvidia-cuda-cupti==13.2.*']],
    ['of CUDA 12, each by its name', ['libcudart.so.12', 'libcudnn.so.9'], ['nvidia-cuda-runtime-cu12 (==12.4.127) ; platform_system == "Linux"', 'nvidia-cudnn-cu12==9.1.0.70'], ['nvidia-cuda-runtime-cu12==12.4.127', 'nvidia-cudnn-cu12==9.1.0.70']],
    ['none for a torch that needs none', ['libc10.so', 'libm.so.6'], [], []],
  ])("is joined by NVIDIA's libraries %s", (_what, needed, requirements, expected) => {
    expect(librariesToBring(needed, requirements)).toEqual(expected);
  });

  it('that lies half installed is found out, and brought again where it was asked for', () => {
    const root = temporaryFolder();
    writeTree(root, { 'torch/include/ATen/ATen.h': '' });
    const probes = probeLibtorch({ env: {}, ownTorch: join(root, 'torch'), pipTorch: null, systemRoot: root });
    expect(probes.map(({ absent }) => absent)).toEqual([expect.anything(), expect.stringMatching(/pip's torch \(.*torch\) has no libtorch_cpu\.so in /), expect.anything(), expect.anything()]);
    expect(chooseEngine({ platform: 'linux', probes, canInstall: false, failed: {} }, 'pip')).toEqual({ engine: 'pip', reasons: [probes[1].absent] });
    expect(chooseEngine({ platform: 'linux', probes, canInstall: false, failed: {} }, 'auto').reasons).toContain(probes[1].absent);
  });
});

it('an NVIDIA GPU is there where its driver is', () => {
  const root = temporaryFolder();
  expect(hasNvidiaGpu(root)).toBe(false);
  writeTree(root, { 'proc/driver/nvidia/version': '' });
  expect(hasNvidiaGpu(root)).toBe(true);
});
