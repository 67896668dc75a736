import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../conformance/run.mjs';
import { buildAddon } from '../setup/addon.mjs';
import { layoutOf } from '../setup/checkout.mjs';
import { findCompiler } from '../setup/machine.mjs';
import { probeLibtorch } from '../setup/probe.mjs';
import { createLog, createRunner, tailOf } from '../setup/run.mjs';
import { planFor } from '../setup/toolchain.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const STAGES = { addon: buildIt, conformance, parity, bench };
const DEFAULTS = { device: 'cuda', to: 'gpu-check.json', batch: '256', size: '224', blocks: '5', steps: '3', arch: 'resnet34', precision: 'bfloat16', threads: `${availableParallelism()}`, only: Object.keys(STAGES).join() };
const PARITY_TIMEOUT_MS = 20 * 60_000, BENCH_TIMEOUT_MS = 30 * 60_000;

const LOOK = `import json, torch
try:
    import torchvision; vision = torchvision.__version__
except ImportError:
    vision = None
gpu = torch.cuda.is_available()
print(json.dumps({"torch": torch.__version__, "torchvision": vision, "cuda": torch.version.cuda, "folder": torch.__path__[0],
  "gpu": torch.cuda.get_device_name(0) if gpu else None, "gpuMiB": torch.cuda.get_device_properties(0).total_memory >> 20 if gpu else None}))`;

/** Runs the stages one after the other; what each gave goes into a file. @returns the exit code */
export async function run(given) {
  const options = { ...DEFAULTS, ...given };
  const chosen = options.only.split(',');
  for (const [what, name, known] of [['--device', options.device, ['cuda', 'cpu']], ...chosen.map((name) => ['--only', name, Object.keys(STAGES)])]) {
    if (!known.includes(name)) throw Object.assign(new Error(`${what} doesn't know ${name}. Choose of ${known.join(', ')}.`), { code: 'ERR_PARSE_ARGS' });
  }
  const python = process.env.CHAMELEON_PYTHON ?? 'python3', file = resolve(options.to);
  const results = { date: new Date().toISOString(), options, machine: machineHere(), python: look(python), stages: {} };
  const { torch, gpu } = results.python;
  const noGpu = options.device === 'cuda' && torch && !gpu ? `There is no CUDA device here that torch ${torch} can use: look at \`nvidia-smi\`, or pass --device cpu.` : null;
  if (noGpu) process.stdout.write(`${noGpu}\n`);
  for (const name of Object.keys(STAGES).filter((stage) => chosen.includes(stage))) {
    const began = Date.now();
    let outcome;
    try {
      if (!torch) throw new Error(results.python.error);
      if (noGpu && name !== 'addon') throw new Error(noGpu);
      outcome = { passed: true, ...(await STAGES[name]({ ...options, python }, results)) };
    } catch (error) {
      outcome = { passed: false, error: error.message };
    }
    results.stages[name] = { ...outcome, seconds: Math.round((Date.now() - began) / 1000) };
    process.stdout.write(`${outcome.passed ? '✔' : '✘'} ${name} (${results.stages[name].seconds} s): ${outcome.error ?? outcome.summary}\n`);
    writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`);
  }
  process.stdout.write(`Results: ${file}\n`);
  return Object.values(results.stages).every(({ passed }) => passed) ? 0 : 1;
}

function look(python) {
  try {
    return JSON.parse(execFileSync(python, ['-c', LOOK], { encoding: 'utf8', timeout: 120_000, stdio: ['ignore', 'pipe', 'pipe'] }));
  } catch (error) {
    return { error: `${python} has no torch that loads (${tailOf(`${error.stderr ?? error.message}`, 1)[0]}). Set PYTHON to the one that has.` };
  }
}

function machineHere() {
  const said = spawnSync('nvidia-smi', ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader'], { encoding: 'utf8', timeout: 20_000 });
  return { processor: cpus()[0]?.model.trim() ?? 'unknown', cores: availableParallelism(), memoryGiB: Math.round(totalmem() / 2 ** 30), gpus: said.status === 0 ? said.stdout.trim().split('\n') : [], node: process.versions.node };
}

/** The environment of what runs on the device. Tests compare float32 with float32: NVIDIA's TF32 keeps 10 bits of it. */
const onDevice = ({ device, python }) => ({ ...process.env, CHAMELEON_DEVICE: device, CHAMELEON_PYTHON: python, NVIDIA_TF32_OVERRIDE: '0' });

/** Set-up's addon for the torch of this python. */
async function buildIt({ device }, { python: { folder } }) {
  const layout = layoutOf(ROOT), compiler = findCompiler(process.env);
  if (compiler === null) throw new Error('There is no C++ compiler here: install g++, or set CXX.');
  const [probe] = probeLibtorch({ env: { LIBTORCH: folder }, pipTorch: null });
  if (!('libtorch' in probe)) throw new Error(`${probe.absent}: it is not pip's torch`);
  // Its strings are pip's.
  const libtorch = { ...probe.libtorch, kind: 'pip' };
  const log = createLog(join(layout.setup, 'gpu-check', 'log'));
  try {
    const run = createRunner({ cwd: ROOT, env: process.env, log, signal: new AbortController().signal });
    const { compiled } = await buildAddon(planFor(libtorch, { compiler, layout }), { run, jobs: availableParallelism() });
    const tried = spawnSync(process.execPath, ['-e', `const a = require(${JSON.stringify(layout.addon)}); a.useDevice('${device}'); console.log(a.version, a.hasCuda())`], { encoding: 'utf8', timeout: 120_000 });
    if (tried.status !== 0) throw new Error(tailOf(tried.stderr).find((line) => line.includes('Error')) ?? tailOf(tried.stderr, 1)[0]);
    return { libtorch: libtorch.version, compiled, summary: `${compiled} sources compiled against libtorch ${libtorch.version}` };
  } finally {
    log.close();
  }
}

async function conformance(options) {
  const [suite] = await runProgram('conformance', ['libtorch'], { env: onDevice(options) });
  const failed = suite.rows.filter(({ failure }) => failure !== null), largest = Math.max(...suite.rows.map(({ largestError }) => largestError ?? 0));
  return { passed: failed.length === 0, cases: suite.rows.length, largestError: largest, failed: failed.map(({ kernel, what, failure }) => `${kernel}, ${what}: ${failure}`), summary: `${suite.rows.length} cases, ${failed.length} fail${failed[0] ? `, the first ${failed[0].kernel}, ${failed[0].what}: ${failed[0].failure}` : ''}` };
}

/** Networks from a seed, whose reference PyTorch computes on the processor; with CHAMELEON_TEST_DATA pretrained ones too. */
async function parity(options) {
  const report = join(layoutOf(ROOT).setup, 'gpu-check', 'parity.json');
  const vitest = spawnSync(process.execPath, [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--config', join(ROOT, 'vitest.config.ts'), '--root', '.', '--retry=0', '--reporter=json', `--outputFile=${report}`, 'src/parity/parity.test.ts'], { cwd: join(ROOT, 'packages/core'), env: onDevice(options), encoding: 'utf8', timeout: PARITY_TIMEOUT_MS, maxBuffer: 64 << 20 });
  if (!existsSync(report)) throw new Error(tailOf(`${vitest.stdout}${vitest.stderr}`, 1)[0] ?? 'vitest did not run');
  const { numPassedTests: passedCount, numTotalTests: total, numPendingTests: leftOut, testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const failed = testResults.flatMap(({ assertionResults, message }) => [...(message ? [message] : []), ...assertionResults.filter(({ status }) => status === 'failed').map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages.map((text) => text.split('\n')[0]).join('; ')}`)]);
  return { passed: vitest.status === 0 && passedCount > 0, passedCount, total, leftOut, failed, table: vitest.stdout, summary: `${passedCount} of ${total} cases pass, ${leftOut} are left out for want of CHAMELEON_TEST_DATA${failed[0] ? `, the first that fails: ${failed[0].slice(0, 300)}` : ''}` };
}

function bench({ device, python, batch, size, blocks, steps, arch, precision, threads }) {
  const args = [join(ROOT, 'tools/bench/main.mjs'), 'train', '--json', '--device', device, '--python', python, ...Object.entries({ batch, size, blocks, steps, arch, precision, threads }).flatMap(([name, value]) => [`--${name}`, value])];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: dirname(ROOT), encoding: 'utf8', timeout: BENCH_TIMEOUT_MS });
  if (status !== 0) throw new Error(tailOf(stderr, 3).join(' '));
  const rows = JSON.parse(stdout);
  return { rows, summary: rows.map(({ kind, precision: p, ratio }) => `${kind} ${p} ${ratio}`).join(', ') + " (PyTorch's time over Chameleon's)" };
}
