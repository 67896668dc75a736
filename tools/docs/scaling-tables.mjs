import { GPU, NETWORKS, WORLD_SIZES, compareLinks, neededGigabits, projectGpus } from '../bench/scaling/predict.mjs';
import { table } from './markdown.mjs';

/** The tables of docs/scaling.md, from what `npm run bench -- scaling` measured. */

/** Each link: the step and the exchange, measured and modelled. */
export function linkTable(results) {
  const { machine, profile, pictures, precision, wire, command } = results;
  const header = ['link', 'exchange alone, ms', 'modelled', 'step, ms', 'modelled', 'off'];
  const rows = compareLinks(results).map(({ megabits, measured, modelled, off }) => [megabits === null ? 'not limited' : `${megabits.toLocaleString('en')} Mbit/s`, Math.round(measured.exchangeMs), megabits === null ? '' : Math.round(modelled.exchangeMs), Math.round(measured.stepMs), Math.round(modelled.stepMs), percent(off)]);
  return `${table([header, ...rows])}

Two workers of a core each, ResNet34, full fine-tuning, 224 px, ${pictures} pictures a worker, ${precision}, gradients in ${wire}. Without an exchange: forward ${Math.round(profile.forwardMs)} ms, way back ${Math.round(profile.backwardMs)} ms,
optimizer ${Math.round(profile.optimizerMs)} ms. ${machine.replace(/, load.*/, '')}. Made by \`${command}\`.`;
}

/** Efficiency of 8 to 1,024 GPUs on each network, float32 and bfloat16 on the wire. */
export function gpuTable(results, pictures) {
  const gpu = { ...GPU, pictures }, share = (size, network, wire) => projectGpus(results.gpuProfile, size, network, wire, gpu).toFixed(2);
  return table([['GPUs', ...NETWORKS.map(({ name }) => name)], ...WORLD_SIZES.map((size) => [size, ...NETWORKS.map((network) => `${share(size, network, 'float32')} / ${share(size, network, 'bfloat16')}`)])]);
}

/** From which bandwidth of a node on only the last bucket is waited for. */
export function neededTable(results) {
  const row = (pictures) => [pictures, ...['float32', 'bfloat16'].map((wire) => `${neededGigabits(results.gpuProfile, 1024, wire, { ...GPU, pictures }).toFixed(0)} Gbit/s`)];
  return table([['pictures a GPU', 'float32', 'bfloat16'], ...[32, 64, 128, 256].map(row)]);
}

/** What a fault costs: the recovery that was measured, the step that is done again. */
export function faultTable({ recovery }, { hoursBetween }) {
  const { medianMs, detectionMs } = recovery.results, again = (1000 * GPU.pictures) / GPU.picturesPerSecond;
  const row = (what, waitMs) => [what, (waitMs / 1000).toFixed(2), `${(100 * ((waitMs + again) / (3_600_000 * hoursBetween))).toFixed(4)} %`];
  return table([['a worker', 'seconds without a step', `of the time, at a fault in ${hoursBetween} hours`], row('is killed: its connection breaks', medianMs), row('falls silent: a cut cable, a rack without power', detectionMs + medianMs)]);
}

const percent = (share) => `${share >= 0 ? '+' : '−'}${Math.abs(100 * share).toFixed(1)} %`;

/** Published: the mean time between failures of 1,024 GPUs. */
const HOURS_BETWEEN = 7.9;

export const scalingPlaces = (root) => {
  const place = (name, render, results = 'scaling') => ({ page: root('docs/scaling.md'), name, results: root(`benchmarks/results/${results}.json`), render });
  return [place('links', linkTable), place('gpus-64', (results) => gpuTable(results, 64)), place('gpus-256', (results) => gpuTable(results, 256)), place('needed', neededTable), place('faults', (results) => faultTable(results, { hoursBetween: HOURS_BETWEEN }), 'distributed')];
};
