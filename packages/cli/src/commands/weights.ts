import { listWeights, pullWeights } from '@chameleon/trainer';
import type { Command } from 'commander';
import { interruption } from '../interruption.js';
import { Progress, print, printJson, table } from '../output.js';
import type { Given } from '../settings.js';

export function addWeights(program: Command): void {
  const weights = program.command('weights').description('Pretrained weights.');
  weights
    .command('list')
    .description('The weights that are known by name, and which are at hand.')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExample:\n  chameleon weights list')
    .action(async (given: Given) => {
      const rows = await listWeights();
      if (given['json'] === true) return printJson(rows);
      print(table([['name', 'architecture', 'state', 'MB'], ...rows.map((row) => [row.name, row.architecture, row.state, row.bytes === undefined ? '' : (row.bytes / 1e6).toFixed(1)])]));
    });
  weights
    .command('pull <name>')
    .description("Fetch torchvision's weights from PyTorch's public address; goes on where it was cut off.")
    .option('--from <file>', 'take them from a file, on a machine without a network')
    .addHelpText('after', '\nExamples:\n  chameleon weights pull resnet34\n  chameleon weights pull resnet34 --from resnet34-b627a593.pth')
    .action(async (name: string, given: Given) => {
      using stop = interruption();
      const progress = new Progress();
      const path = await pullWeights(name, { signal: stop.signal, onProgress: (done, total) => progress.update('MB', Math.round(done / 1e6), Math.round(total / 1e6)), ...(typeof given['from'] === 'string' ? { from: given['from'] } : {}) });
      progress.clear();
      print(path);
    });
}
