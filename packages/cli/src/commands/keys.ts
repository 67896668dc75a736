import { type Right, addKey, listKeys, removeKey } from '@chameleon/inference-server';
import { type Command, InvalidArgumentError } from 'commander';
import { print, printJson, remark, table } from '../output.js';
import type { Given } from '../settings.js';

const rights = (text: string): Right[] => text.split(',').map((part) => {
  const right = part.trim();
  if (right !== 'classify' && right !== 'operate') throw new InvalidArgumentError('Rights are classify and operate, with a comma between.');
  return right;
});

export function addKeys(program: Command): void {
  const keys = program.command('keys').description('Who may ask a server: the file that `serve --keys` takes.');
  keys
    .command('add <name>')
    .description('Make a key and print it. It is shown once: the file keeps its hash alone.')
    .option('--file <file>', 'the file of keys', 'keys.json')
    .option('--rights <rights>', 'classify: ask; operate: also change what is served', rights, ['classify'])
    .addHelpText('after', '\nExamples:\n  chameleon keys add phone\n  chameleon keys add cluster --rights classify,operate')
    .action(async (name: string, given: Given) => {
      print(await addKey(given['file'] as string, name, given['rights'] as Right[]));
      remark(`Send it as \`Authorization: Bearer KEY\`. A server that runs already reads ${given['file'] as string} when it is started again.`);
    });
  keys
    .command('list')
    .description('The names and rights in a file of keys.')
    .option('--file <file>', 'the file of keys', 'keys.json')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExample:\n  chameleon keys list')
    .action(async (given: Given) => {
      const rows = (await listKeys(given['file'] as string)).map(({ name, rights: may }) => ({ name, rights: may }));
      if (given['json'] === true) return printJson(rows);
      print(rows.length === 0 ? `No keys in ${given['file'] as string} yet.` : table([['name', 'rights'], ...rows.map((row) => [row.name, row.rights.join(', ')])]));
    });
  keys
    .command('remove <name>')
    .description('Take a key out of the file.')
    .option('--file <file>', 'the file of keys', 'keys.json')
    .addHelpText('after', '\nExample:\n  chameleon keys remove phone')
    .action(async (name: string, given: Given) => {
      await removeKey(given['file'] as string, name);
      print(`removed ${name} from ${given['file'] as string}`);
    });
}
