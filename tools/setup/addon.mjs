import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { SetupError } from './errors.mjs';
import { digestOf, namesIn, stampOf } from './files.mjs';
import { tailOf } from './run.mjs';

const COMPILE_TIMEOUT_MS = 15 * 60_000;
const LOAD_TIMEOUT_MS = 2 * 60_000;

/**
 * @typedef {{ compile: (source: string, object: string) => string[], link: (objects: string[], addon: string) => string[] }} Commands
 * @typedef {{ key: string, addon: string, commands: Commands, objects: { source: string, object: string }[] }} AddonPlan
 *   An object's name carries the digest of all that goes into it, so a file of that name is it; `key` is the digest of the whole addon.
 */

/**
 * What would have to be there for the addon to be up to date. Reads the sources and headers, changes nothing.
 * @param {{ sources: string, addon: string, commands: Commands, stamps: string[] }} options `sources`: the folder of the *.cc and *.h;
 *   `addon`: the file to be made; `stamps`: of what is not in the sources but changes the result, as the compiler and libtorch
 * @returns {AddonPlan}
 */
export function planAddon({ sources, addon, commands, stamps }) {
  const names = namesIn(sources);
  const textsOf = (ending) => names.filter((name) => name.endsWith(ending)).map((name) => [name, readFileSync(join(sources, name), 'utf8')]);
  const headers = digestOf([textsOf('.h'), stamps]);
  const objects = textsOf('.cc').map(([name, text]) => {
    const source = join(sources, name);
    const key = digestOf([name, text, headers, commands.compile(source, '')]);
    return { source, object: join(objectsOf(addon), `${basename(name, '.cc')}-${key}.o`) };
  });
  return { key: digestOf([objects, commands.link([], '')]), addon, commands, objects };
}

const objectsOf = (addon) => join(dirname(addon), 'objects');

/**
 * Compiles what has changed, links, sees that Node can load it, and only then puts it in its place: whoever looks there finds the old
 * addon or the new one. Objects of older sources are removed at the end.
 * @param {AddonPlan} plan
 * @param {{ run: import('./run.mjs').Run, jobs: number, force?: boolean }} options `jobs`: compilers side by side;
 *   `force`: compile what is there already too
 * @returns {Promise<{ compiled: number }>} how many sources were compiled. Throws a SetupError when a tool fails; what is compiled stays.
 */
export async function buildAddon({ addon, commands, objects }, { run, jobs, force = false }) {
  mkdirSync(objectsOf(addon), { recursive: true });
  const missing = objects.filter(({ object }) => force || stampOf(object) === '-');
  await inParallel(missing, jobs, async ({ source, object }) => {
    const beside = `${object}.${process.pid}.part`;
    await succeed(run, commands.compile(source, beside), `${basename(source)} does not compile`, COMPILE_TIMEOUT_MS);
    renameSync(beside, object);
  });
  // The dynamic linker wants the ending; the process's number keeps it apart from what another run may have left.
  const beside = addon.replace(/\.node$/, `.${process.pid}.node`);
  try {
    await succeed(run, commands.link(objects.map(({ object }) => object), beside), 'the addon does not link', COMPILE_TIMEOUT_MS);
    await succeed(run, [process.execPath, '-e', 'require(process.argv[1])', beside], 'the addon does not load', LOAD_TIMEOUT_MS);
    renameSync(beside, addon);
  } finally {
    rmSync(beside, { force: true });
  }
  removeOlder(addon, objects);
  return { compiled: missing.length };
}

async function succeed(run, command, failure, timeoutMs) {
  const { code, output } = await run(command, { timeoutMs });
  if (code === 0) return;
  const said = output.split('\n').find((line) => /\berror\b/i.test(line)) ?? tailOf(output, 1)[0] ?? `exit code ${code}`;
  throw new SetupError(`${failure}: ${said.trim()}`, 'See .setup/log.', 1, tailOf(output));
}

/** Works at most `count` at a time; after a failure begins no more, waits for those under way, and throws it. */
async function inParallel(items, count, work) {
  const waiting = [...items];
  const failures = [];
  const next = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      try {
        await work(item);
      } catch (error) {
        failures.push(error);
        waiting.length = 0;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, count) }, next));
  if (failures.length > 0) throw failures[0];
}

function removeOlder(addon, objects) {
  const current = new Set(objects.map(({ object }) => basename(object)));
  for (const name of namesIn(objectsOf(addon))) {
    if (!current.has(name)) rmSync(join(objectsOf(addon), name), { force: true });
  }
}

/** Takes the addon away, with what an interrupted run left beside it; its objects stay, for the next time. True if there was one. */
export function removeAddon(addon) {
  const there = stampOf(addon) !== '-';
  const folder = dirname(addon);
  for (const name of namesIn(folder)) {
    if (/^tfjs_libtorch\.(\d+\.)?node$/.test(name)) rmSync(join(folder, name), { force: true });
  }
  return there;
}
