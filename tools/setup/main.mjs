import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { bringEngine } from './bring-engine.mjs';
import { bringBuild } from './build.mjs';
import { checkSetup } from './check.mjs';
import { layoutOf } from './checkout.mjs';
import { asSetupError, SetupError } from './errors.mjs';
import { withLock } from './lock.mjs';
import { bringJpeg } from './jpeg.mjs';
import { bringPackages } from './npm-packages.mjs';
import { findCompiler, lookAround } from './machine.mjs';
import { HELP, parseOptions } from './options.mjs';
import { createReport } from './report.mjs';
import { createLog, createRunner } from './run.mjs';
import { bringSchemas } from './schemas.mjs';
import { emptyState, readState, writeState } from './state.mjs';
import { bringTensorflow } from './tensorflow.mjs';
import { completeLine } from './summary.mjs';

const LOCK_DEADLINE_MS = 30 * 60_000;
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/**
 * Makes this checkout ready, as the command line asks. Prints what it does; never throws.
 * @param {string[]} args
 * @returns {Promise<number>} the exit code: 0 ready, 1 a stage failed, 2 the call was wrong, 129, 130 or 143 interrupted
 */
export async function main(args) {
  const layout = layoutOf(fileURLToPath(new URL('../..', import.meta.url)));
  const env = process.env;
  try {
    const options = parseOptions(args);
    if (options.help) process.stdout.write(HELP);
    else if (options.check) process.stdout.write(`${JSON.stringify(checkSetup({ options, layout, env }), null, 2)}\n`);
    else await withSignals((signal) => lockAndSetUp({ options, layout, env, signal }));
    return 0;
  } catch (error) {
    return explain(asSetupError(error));
  }
}

async function lockAndSetUp({ options, layout, env, signal }) {
  const report = createReport({ write: (text) => process.stdout.write(text), verbose: options.verbose, now: Date.now });
  const log = createLog(layout.log, options.verbose ? (text) => process.stderr.write(text) : undefined);
  const onWait = (pid) => report.say(`Another set-up (process ${pid}) is at work here: waiting for it`);
  const run = createRunner({ cwd: layout.root, env, log, signal });
  try {
    await withLock(layout.lock, { signal, deadlineMs: LOCK_DEADLINE_MS, onWait }, () => setUp({ options, layout, env, run, report }));
  } finally {
    log.close();
  }
}

/** The whole road. Each stage looks first whether there is anything to do, and what it has done is saved before the next begins. */
async function setUp({ options, layout, env, run, report }) {
  const { force } = options;
  const before = readState(layout.state);
  let saved = before;
  const save = (state) => {
    if (!isDeepStrictEqual(state, saved)) writeState(layout.state, state);
    saved = state;
  };

  await bringPackages({ layout, run, report, force });
  const engine = await bringEngine({ options, layout, env, run, report, warn, save }, force ? emptyState() : before);
  save(engine.state);
  const decoding = await bringJpeg({ compiler: findCompiler(env), layout, run, report, warn, force }, engine.state);
  save(decoding);
  if (options.engine === 'tensorflow') {
    const { compiler, gpu } = lookAround(env, layout);
    await bringTensorflow({ layout, env, compiler, gpu, run, report, force });
  }
  if (options.withReference) await bringSchemas({ layout, env, run, report, force });
  const after = await bringBuild({ layout, run, report, force }, decoding);
  save(after);

  const referenceMissing = options.withReference && !engine.reference;
  process.stdout.write(`${completeLine({ ...engine, node: process.versions.node, referenceMissing })}\n`);
}

/** Runs `work` with a signal that is aborted when the process is asked to end. */
async function withSignals(work) {
  const controller = new AbortController();
  const listeners = Object.entries(SIGNALS).map(([name, exitCode]) => {
    const listener = () => controller.abort(new SetupError('Set-up was interrupted.', 'Run it again: it goes on from what is complete.', exitCode));
    process.on(name, listener);
    return [name, listener];
  });
  try {
    return await work(controller.signal);
  } finally {
    for (const [name, listener] of listeners) process.off(name, listener);
  }
}

function explain(error) {
  if (error instanceof SetupError) {
    warn([...error.tail, error.message, error.remedy]);
    return error.exitCode;
  }
  warn([error.stack ?? String(error), 'This is a fault of set-up itself, not of yours: please report it with the lines above.']);
  return 1;
}

function warn(lines) {
  process.stderr.write(lines.map((line) => `${line}\n`).join(''));
}
