import { parseArgs } from 'node:util';
import { facts } from './serve/facts.mjs';
import { keepResults } from './serve/results.mjs';
import { compare } from './train/compare.mjs';

/** What PyTorch and Chameleon need for the same step of training, side by side in one run. */

export const KINDS = ['full', 'batch-stats', 'eval', 'batch-norm-only'];
export const PRECISIONS = ['bfloat16', 'float32'];

export const HELP = `Usage: npm run bench -- [train] [options]

A step of training, ResNet34, 224 px, batch 16, two threads, Adam, on random pixels: PyTorch (eager, autocast, channels_last) and
Chameleon's own training step, each in a process that is kept warm, in alternating blocks of steps. Needs a build and a Python
with torch and torchvision (Debian's python3-torch and python3-torchvision; \`npm test\` installs them where it may).

  --kinds LIST       of ${KINDS.join(', ')} (default: all). What learns: everything; the head alone, with
                     BatchNorm's statistics the batch's or the running ones; the head and BatchNorm
  --precision LIST   of ${PRECISIONS.join(', ')} (default: both)
  --steps N          a block (default: 3)
  --blocks N         of each (default: 5)
  --batch N, --size PX, --threads N, --arch NAME   (default: 16, 224, 2, resnet34)
  --python PATH      whose torch is compared with (default: /usr/bin/python3)
  --compile          PyTorch's model by torch.compile (needs torch 2.x), not eager
  --device cpu|cuda  of both (default: cpu). On cuda peak memory is the most that tensors held there
  --fusion on|off    Chameleon with its fused operators or without (default: on)
  --json             print rows as JSON
  --to FILE          and write them there, with machine, versions and command

ms are medians of the blocks' medians; the ratio is PyTorch's time over Chameleon's, the median over the pairs of blocks. Peak memory
is the process's largest resident size above that after its imports, for both in the same way (VmHWM, restarted).

Examples:
  npm run bench
  npm run bench -- --kinds full,eval --precision bfloat16 --blocks 9
  npm run bench -- --json --to benchmarks/results/train.json
`;

const OPTIONS = {
  kinds: { type: 'string', default: KINDS.join() }, precision: { type: 'string', default: PRECISIONS.join() }, steps: { type: 'string', default: '3' }, blocks: { type: 'string', default: '5' },
  batch: { type: 'string', default: '16' }, size: { type: 'string', default: '224' }, threads: { type: 'string', default: '2' }, arch: { type: 'string', default: 'resnet34' },
  python: { type: 'string', default: '/usr/bin/python3' }, compile: { type: 'boolean', default: false }, device: { type: 'string', default: 'cpu' }, fusion: { type: 'string', default: 'on' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false },
};

export async function main(args) {
  const { values } = parseArgs({ args, options: OPTIONS });
  if (values.help) return void process.stdout.write(HELP);
  const kinds = choices('--kinds', values.kinds, KINDS), precisions = choices('--precision', values.precision, PRECISIONS);
  const [fusion] = choices('--fusion', values.fusion, ['on', 'off']);
  const [device] = choices('--device', values.device, ['cpu', 'cuda']);
  const counts = Object.fromEntries(['steps', 'blocks', 'batch', 'size', 'threads'].map((name) => [name, wholeNumber(`--${name}`, values[name])]));
  const { python, arch } = values;
  const settings = { arch, ...counts, python, compiled: values.compile, device, fusion: fusion === 'on' };
  const rows = [];
  if (!values.json) process.stdout.write(`${arch}, batch ${counts.batch}, ${counts.size} px, ${counts.threads} threads; ms a step, peak memory in MiB above the imports\n${line(TITLES)}\n`);
  for (const precision of precisions) {
    for (const kind of kinds) {
      const row = await compare({ kind, precision, ...settings });
      rows.push(row);
      if (!values.json) process.stdout.write(`${line(cells(row))}\n`);
    }
  }
  if (values.to) {
    const { pytorch } = rows[0], { versions, ...machine } = await facts();
    const record = { command: ['npm run bench -- train', ...args].join(' '), ...machine, versions: { ...versions, pytorch }, ...settings, rows };
    await keepResults(values.to, record);
  }
  if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 1)}\n`);
}

// 76 columns: a narrow terminal has 80.
const TITLES = ['kind', 'precision', 'PyTorch', 'ours', 'ratio', 'PyTorch', 'ours'];
const WIDTHS = [16, 10, 8, 6, 6, 8, 6];
const line = (texts) => texts.map((text, i) => (i < 2 ? text.padEnd(WIDTHS[i]) : text.padStart(WIDTHS[i]))).join('').trimEnd();
const cells = ({ kind, precision, pytorchMs, chameleonMs, ratio, pytorchPeakMiB, chameleonPeakMiB }) => [kind, precision, `${Math.round(pytorchMs)}`, `${Math.round(chameleonMs)}`, ratio.toFixed(2), `${pytorchPeakMiB}`, `${chameleonPeakMiB}`];

function choices(flag, given, known) {
  const chosen = given.split(',');
  const unknown = chosen.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`${flag} doesn't know ${unknown || 'an empty name'}. Choose of ${known.join(', ')}.`);
  return chosen;
}

function wholeNumber(flag, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${flag} takes a whole number from 1, not ${text}.`);
  return value;
}
