import { fileURLToPath } from 'node:url';
import { median } from '../serve/statistics.mjs';
import { startLineProcess } from './line-process.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const WARM_STEPS = 3;

/**
 * One kind of step in one precision, by PyTorch and by Chameleon: two processes that are kept warm and take turns, a block of steps each
 * (A B, B A, A B …), so that a drift of the machine's speed hits both.
 * @param {{ kind: string, precision: string, arch: string, batch: number, size: number, threads: number, device: string, blocks: number, steps: number, python: string, compiled: boolean, fusion: boolean }} options
 */
export async function compare({ kind, precision, arch, batch, size, threads, device, blocks, steps, python, compiled, fusion }) {
  const torch = await startLineProcess(python, [here('torch_worker.py')]);
  try {
    const ours = await startLineProcess(process.execPath, ['--expose-gc', here('chameleon-worker.mjs')], { env: { ...process.env, ...(fusion ? {} : { CHAMELEON_FUSION: 'off' }) } });
    try {
      const task = { arch, kind, precision, batch, size, threads, device };
      const sides = { pytorch: torch, chameleon: ours };
      const built = { pytorch: await torch.call('build', { ...task, compiled }), chameleon: await ours.call('build', task) };
      for (const side of Object.values(sides)) await side.call('train', { steps: WARM_STEPS });
      const seen = { pytorch: [], chameleon: [] };
      for (let block = 0; block < blocks; block++) {
        for (const name of block % 2 === 0 ? ['pytorch', 'chameleon'] : ['chameleon', 'pytorch']) seen[name].push(await sides[name].call('train', { steps }));
      }
      const memory = { pytorch: await torch.call('memory'), chameleon: await ours.call('memory') };
      return rowOf({ kind, precision }, seen, memory, built);
    } finally {
      await ours.stop();
    }
  } finally {
    await torch.stop();
  }
}

function rowOf(task, seen, memory, built) {
  const times = (name) => seen[name].map(({ stepMs }) => stepMs);
  const phases = Object.keys(seen.chameleon[0].phasesMs).map((phase) => [phase, round(median(seen.chameleon.map(({ phasesMs }) => phasesMs[phase])))]);
  return {
    ...task,
    pytorchMs: round(median(times('pytorch'))),
    chameleonMs: round(median(times('chameleon'))),
    // Of the pairs: what drifts is in both halves of one.
    ratio: round(median(times('pytorch').map((ms, i) => ms / times('chameleon')[i])), 3),
    pytorchPeakMiB: round(memory.pytorch.peakMiB, 0),
    chameleonPeakMiB: round(memory.chameleon.peakMiB, 0),
    pytorchProcessPeakMiB: round(memory.pytorch.processPeakMiB, 0),
    chameleonProcessPeakMiB: round(memory.chameleon.processPeakMiB, 0),
    phasesMs: Object.fromEntries(phases),
    libtorch: built.chameleon.version,
    pytorch: built.pytorch.version,
  };
}

const round = (value, digits = 1) => Number(value.toFixed(digits));
