import { SetupError } from './errors.mjs';

export const HELP = `Usage: node tools/setup.mjs [options]

Makes a clone ready: npm's packages, libtorch, the addon, the build.
Run it as often as you like; what is done already costs nothing.

  --with-reference   also install Debian's PyTorch and torchvision,
                     which tests compare with, Chromium, Prometheus,
                     and by pip and Go the schemas of Kubernetes
  --engine ENGINE    auto (default): $LIBTORCH, pip's torch, then
                     Debian's libtorch-dev, else wasm
                     debian: Debian's libtorch-dev alone
                     pip: torch 2.x from pip in .setup/pip, which
                     auto then takes too until that folder is
                     removed; with CUDA where a GPU is
                     tensorflow: what auto brings, and TensorFlow's
                     own engine from pip (--backend tensorflow)
                     wasm: no libtorch; removes a compiled addon
  --force            do every stage again
  --check            print what is found as JSON, change nothing
  --verbose          show what npm, apt and the compiler print
  --help             this text

Example: node tools/setup.mjs --with-reference
Exit codes: 0 ready, 1 a stage failed, 2 the call was wrong,
130 interrupted. What the tools printed is in .setup/log.
`;

const ENGINES = ['auto', 'debian', 'pip', 'tensorflow', 'wasm'];
const SWITCHES = { '--with-reference': 'withReference', '--force': 'force', '--check': 'check', '--verbose': 'verbose', '--help': 'help', '-h': 'help' };

/**
 * @typedef {{ withReference: boolean, engine: 'auto' | 'debian' | 'pip' | 'tensorflow' | 'wasm', force: boolean, check: boolean, verbose: boolean, help: boolean }} Options
 */

/**
 * Parses the command line. Throws a SetupError with exit code 2 for a flag or an engine that doesn't exist.
 * @param {string[]} args
 * @returns {Options}
 */
export function parseOptions(args) {
  const options = { withReference: false, engine: 'auto', force: false, check: false, verbose: false, help: false };
  const rest = args.flatMap((arg) => (arg.startsWith('--engine=') ? ['--engine', arg.slice('--engine='.length)] : [arg]));
  while (rest.length > 0) {
    const arg = rest.shift();
    if (arg === '--engine') options.engine = parseEngine(rest.shift());
    else if (Object.hasOwn(SWITCHES, arg)) options[SWITCHES[arg]] = true;
    else throw new SetupError(`Set-up has no option ${arg}.`, unknownRemedy(arg), 2);
  }
  return options;
}

function parseEngine(name) {
  if (ENGINES.includes(name)) return name;
  throw new SetupError(`--engine takes ${ENGINES.join(', ')}; it was given ${name ?? 'nothing'}.`, 'Leave it out for auto.', 2);
}

function unknownRemedy(arg) {
  const near = [...Object.keys(SWITCHES), '--engine'].find((known) => arg.length > 3 && known.startsWith(arg.slice(0, 4)));
  return near ? `Did you mean ${near}? See --help.` : 'See --help.';
}
