import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** `npm run bench -- [NAME] [options]`: runs the benchmark that has its file beside this one; without a name, the step of training. */
const names = readdirSync(fileURLToPath(new URL('.', import.meta.url))).filter((name) => name.endsWith('.mjs') && name !== 'main.mjs').map((name) => name.slice(0, -'.mjs'.length));
const [first, ...rest] = process.argv.slice(2);
const named = first !== undefined && !first.startsWith('-');
const [name, args] = named ? [first, rest] : ['train', process.argv.slice(2)];
if (!names.includes(name)) {
  process.stderr.write(`There is no benchmark called ${name}. Usage: npm run bench -- [NAME] [options]\n\nBenchmarks: ${names.join(', ')}. Each explains itself with --help; without a name it is train.\n`);
  process.exit(2);
}
if (!named && args.includes('--help')) process.stdout.write(`Benchmarks: ${names.join(', ')} (npm run bench -- NAME --help). Without a name:\n\n`);
const { main } = await import(`./${name}.mjs`);
try {
  await main(args);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.code?.startsWith?.('ERR_PARSE_ARGS') ? 2 : 1;
}
