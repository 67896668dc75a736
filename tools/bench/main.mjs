import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** `npm run bench -- NAME [options]`: runs the benchmark that has its file beside this one. */
const names = readdirSync(fileURLToPath(new URL('.', import.meta.url))).filter((name) => name.endsWith('.mjs') && name !== 'main.mjs').map((name) => name.slice(0, -'.mjs'.length));
const [name, ...args] = process.argv.slice(2);
if (!names.includes(name)) {
  process.stderr.write(`Usage: npm run bench -- NAME [options]\n\nBenchmarks: ${names.join(', ')}. Each explains itself with --help.\n`);
  process.exit(name === undefined || name === '--help' ? 0 : 2);
}
const { main } = await import(`./${name}.mjs`);
try {
  await main(args);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
