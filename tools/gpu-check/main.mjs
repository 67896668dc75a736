#!/usr/bin/env node
// One check for a machine with an NVIDIA GPU and pip's PyTorch 2.x, without Node and without a network: `--help` says how.
import { parseArgs } from 'node:util';

const HELP = `Usage: node tools/gpu-check/main.mjs pack [--to gpu-check.tar]
       tar xf gpu-check.tar && bash gpu-check/run.sh [options]

The first, here, packs this checkout's build, what it needs of npm's packages, and a Node binary. The second, on the machine with
the GPU, builds the addon against the PyTorch of its python3 (\$PYTHON names another) and runs on the GPU: the conformance suite,
the parity tests, and the benchmark of the four kinds of step against that PyTorch. Each stage says how it went; none stops the next.

  --device cuda|cpu   (default: cuda)
  --batch N --size PX --blocks N --steps N --arch NAME --precision LIST   of the benchmark (default: 256, 224, 5, 3, resnet34, bfloat16)
  --threads N         of the processor's (default: all)
  --only LIST         of addon, conformance, parity, bench (default: all)
  --to FILE           results as JSON (default: gpu-check.json)

Exit codes: 0 all went well, 1 a stage failed, 2 the call was wrong.
`;

const OPTIONS = { ...Object.fromEntries(['to', 'device', 'batch', 'size', 'blocks', 'steps', 'arch', 'precision', 'threads', 'only'].map((name) => [name, { type: 'string' }])), help: { type: 'boolean', default: false } };

try {
  const { values, positionals: [command] } = parseArgs({ options: OPTIONS, allowPositionals: true });
  if (values.help || command === undefined) process.stdout.write(HELP);
  else if (command === 'pack') await (await import('./pack.mjs')).pack(values.to ?? 'gpu-check.tar');
  else if (command === 'run') process.exitCode = await (await import('./run.mjs')).run(values);
  else throw Object.assign(new Error(`gpu-check has no command ${command}. See --help.`), { code: 'ERR_PARSE_ARGS' });
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.code?.startsWith?.('ERR_PARSE_ARGS') ? 2 : 1;
}
