import { UserError } from '@chameleon/core';
import { VERSION } from '@chameleon/trainer';
import { Command, CommanderError } from 'commander';
import { addBench } from './commands/bench.js';
import { addCalibrate } from './commands/calibrate.js';
import { addCoordinator } from './commands/coordinator.js';
import { addDashboard } from './commands/dashboard.js';
import { addDataset } from './commands/dataset.js';
import { addDemo } from './commands/demo.js';
import { addDoctor } from './commands/doctor.js';
import { addEvaluate } from './commands/evaluate.js';
import { addExperiments } from './commands/experiments.js';
import { addExport } from './commands/export.js';
import { addKeys } from './commands/keys.js';
import { addLaunch } from './commands/launch.js';
import { addLrFind } from './commands/lr-find.js';
import { addPredict } from './commands/predict.js';
import { addReport, addRuns } from './commands/runs.js';
import { addServe } from './commands/serve.js';
import { addTrain } from './commands/train.js';
import { addWeights } from './commands/weights.js';
import { addWorker } from './commands/worker.js';
import { colorsOf } from './output.js';

/** The command line as a whole; parsing has no effect but the command's own. */
export function createProgram(): Command {
  const program = new Command('chameleon')
    .description('Transfer learning in TypeScript: train, serve and watch image classifiers.')
    .version(VERSION)
    .option('--verbose', 'show where an error came from')
    .showHelpAfterError('(--help shows what there is)')
    .addHelpText('after', '\nBegin with:\n  chameleon demo\n  chameleon train --data photos\n\nExit codes: 0 done, 1 it failed, 2 the call was wrong, 130 interrupted.')
    .exitOverride();
  for (const add of [addTrain, addCoordinator, addWorker, addLaunch, addExperiments, addLrFind, addEvaluate, addPredict, addCalibrate, addServe, addExport, addKeys, addDashboard, addDataset, addWeights, addRuns, addReport, addBench, addDoctor, addDemo]) add(program);
  inherit(program);
  return program;
}

/** Subcommands end by exceptions too, so that the exit code is decided in one place. */
function inherit(command: Command): void {
  for (const child of command.commands) {
    child.exitOverride().showHelpAfterError('(--help shows what there is)').showSuggestionAfterError();
    inherit(child);
  }
}

/** Runs a command line; gives the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const program = createProgram();
  try {
    await program.parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return explain(error, args.includes('--verbose'));
  }
}

function explain(error: unknown, verbose: boolean): number {
  // Commander has said already what was wrong with the call; help and version are no errors.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const headline = colorsOf(process.stderr).red('error:');
  if (error instanceof UserError) {
    process.stderr.write(`${headline} ${error.message}\n`);
    if (verbose) process.stderr.write(`${error.stack ?? ''}\n${error.cause instanceof Error ? `caused by ${error.cause.message}\n` : ''}`);
    return error.exitCode;
  }
  if (error instanceof Error && error.message === 'interrupted') return 130;
  const refusal = refusalOfSystem(error);
  if (refusal !== null) {
    process.stderr.write(`${headline} ${refusal}\n${verbose ? `${(error as Error).stack}\n` : ''}`);
    return 1;
  }
  process.stderr.write(`${headline} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nThis is a fault of Chameleon's, not yours.\n`);
  return 1;
}

/** What the system would not do, wherever it was asked, and what to do about it; null for other errors: those are ours. */
function refusalOfSystem(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const { code = '', path } = error as NodeJS.ErrnoException;
  // libvips, which writes pictures, gives the system's words and no code.
  if (/^(ENOSPC|EDQUOT)$/.test(code) || error.message.includes('No space left on device')) return `The disk is full${path === undefined ? '' : `: ${path} could not be written`}. Free some space and try again.`;
  if (/^(EACCES|EPERM|EROFS)$/.test(code)) return `${path ?? 'A file'} may not be read or written (${code}). Mend its permissions, or choose another folder.`;
  if (code === 'ERR_OUT_OF_MEMORY') return `${error.message}. Give it more memory, or less to do at a time: fewer or smaller pictures.`;
  return null;
}
