import { PictureLoader } from '@chameleon/data';
import { findLearningRate, openConfigured } from '@chameleon/trainer';
import type { Command } from 'commander';
import { interruption } from '../interruption.js';
import { Progress, print, printJson, table } from '../output.js';
import { prepareRun } from '../prepare-run.js';
import { ENGINE_SETTINGS, type Given, RUN_SETTINGS, integer, number, withSettings } from '../settings.js';

export function addLrFind(program: Command): void {
  withSettings(program.command('lr-find'), [...RUN_SETTINGS, ...ENGINE_SETTINGS])
    .description('Raise the learning rate step by step until the loss explodes, and say which rates suit.')
    .option('--config <file>', 'a run.yaml; flags and environment win over it')
    .option('--from <x>', 'first rate', number, 1e-6)
    .option('--to <x>', 'last rate', number, 1)
    .option('--steps <n>', 'steps between them', integer, 80)
    .option('--json', 'print the curve as JSON')
    .addHelpText('after', `
Example:
  chameleon lr-find --data photos --recipe discriminative`)
    .action(async (given: Given) => {
      using stop = interruption();
      const { config, weights } = await prepareRun(given);
      const dataset = await openConfigured(config, { signal: stop.signal });
      await using loader = new PictureLoader(dataset, { imageSize: config.imageSize });
      const progress = new Progress(process.stderr.isTTY && given['json'] !== true);
      const stepCount = given['steps'] as number;
      let done = 0;
      const found = await findLearningRate(config, dataset, loader, weights, {
        from: given['from'] as number, to: given['to'] as number, stepCount, signal: stop.signal,
        onPoint: (point) => progress.update('steps', ++done, stepCount, `rate ${point.learningRate.toExponential(1)}, loss ${point.smoothed.toFixed(3)}`),
      });
      progress.clear();
      if (given['json'] === true) return printJson(found);
      print(curve(found.points));
      print(`\nsteepest fall      ${rate(found.steepest)}\ntenth of lowest    ${rate(found.tenthOfLowest)}`);
      if (found.steepest !== null) print(`\nTry --learning-rate ${found.steepest.toPrecision(2)}.`);
    });
}

const rate = (value: number | null): string => value?.toExponential(1) ?? 'none: the loss never fell';

/** The smoothed loss as bars, about twenty rows. */
function curve(points: readonly { learningRate: number; smoothed: number }[]): string {
  const every = Math.max(1, Math.ceil(points.length / 20));
  const shown = points.filter((_, i) => i % every === 0);
  const most = Math.max(...shown.map((point) => (Number.isFinite(point.smoothed) ? point.smoothed : 0)));
  return table([['rate', 'loss', ''], ...shown.map(({ learningRate, smoothed }) => [learningRate.toExponential(1), smoothed.toFixed(3), '█'.repeat(Math.round((20 * smoothed) / most) || 0)])]);
}
