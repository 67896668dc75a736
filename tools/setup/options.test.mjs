import { describe, expect, it } from 'vitest';
import { SetupError } from './errors.mjs';
import { HELP, parseOptions } from './options.mjs';

const defaults = { withReference: false, engine: 'auto', force: false, check: false, verbose: false, help: false };

const refusalOf = (args) => {
  try {
    parseOptions(args);
  } catch (error) {
    return error;
  }
  return undefined;
};

describe('options', () => {
  it.each([
    [[], {}],
    [['--with-reference', '--verbose'], { withReference: true, verbose: true }],
    [['--engine', 'wasm'], { engine: 'wasm' }],
    [['--engine=debian', '--force'], { engine: 'debian', force: true }],
    [['--engine', 'pip'], { engine: 'pip' }],
    [['--engine', 'tensorflow'], { engine: 'tensorflow' }],
    [['-h'], { help: true }],
    [['--check'], { check: true }],
  ])('%j are read', (args, expected) => {
    expect(parseOptions(args)).toEqual({ ...defaults, ...expected });
  });

  it.each([
    [['--with-refrence'], '--with-reference'],
    [['--engin=wasm'], '--engine'],
    [['--chekc'], '--check'],
    [['--forse'], '--force'],
    [['--zebra'], 'See --help'],
    [['reference'], 'See --help'],
    [['--engine', 'cuda'], 'auto'],
    [['--engine'], 'auto'],
  ])('%j are a wrong call, and the answer names %s', (args, remedy) => {
    const error = refusalOf(args);
    expect(error).toBeInstanceOf(SetupError);
    expect(error.exitCode).toBe(2);
    expect(error.remedy).toContain(remedy);
  });

  it('stand in the help, all of them', () => {
    for (const name of ['--with-reference', '--engine', '--force', '--check', '--verbose', '--help', '.setup/log']) expect(HELP).toContain(name);
  });
});
