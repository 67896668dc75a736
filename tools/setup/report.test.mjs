import { describe, expect, it } from 'vitest';
import { createReport, formatDuration } from './report.mjs';
import { completeLine } from './summary.mjs';

function freshReport(verbose = false) {
  let printed = '';
  let clock = 0;
  const report = createReport({ write: (text) => (printed += text), verbose, now: () => clock });
  return { report, printed: () => printed, work: (ms, result) => async () => ((clock += ms), result) };
}

describe('the report', () => {
  it('says nothing of what was found until something is done', async () => {
    const { report, printed, work } = freshReport();
    report.note('libtorch 1.13.0 … found');
    expect(printed()).toBe('');
    expect(await report.stage('addon', work(21_000, 5), (count) => `${count} sources in`)).toBe(5);
    report.note('more');
    expect(printed()).toBe('libtorch 1.13.0 … found\naddon … 5 sources in 21 s\nmore\n');
  });

  it('ends the line of a stage that failed', async () => {
    const { report, printed } = freshReport();
    await expect(report.stage('build', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(printed()).toBe('build … failed after 0.0 s\n');
  });

  it('begins the line anew where the tools print in between', async () => {
    const { report, printed, work } = freshReport(true);
    await report.stage('build', work(500));
    expect(printed()).toBe('build … \nbuild … 0.5 s\n');
  });

  it.each([
    [0, '0.0 s'],
    [9_949, '9.9 s'],
    [9_950, '10 s'],
    [28_400, '28 s'],
    [119_400, '119 s'],
    [125_000, '2 min 5 s'],
  ])('says %i ms as %s', (ms, expected) => {
    expect(formatDuration(ms)).toBe(expected);
  });
});

describe('the last line', () => {
  const debian = { kind: 'debian', version: '1.13.0', include: '', lib: '', from: "Debian's libtorch-dev" };
  it.each([
    ['libtorch', { libtorch: debian, reasons: ['LIBTORCH is not set', 'python3 has no torch'] }, 'Set-up is complete: libtorch 1.13.0 (Debian), Node 20.20'],
    ['why not a better one', { libtorch: debian, reasons: ['LIBTORCH (/opt) has no include/ATen'] }, 'Set-up is complete: libtorch 1.13.0 (Debian), Node 20.20; LIBTORCH (/opt) has no include/ATen'],
    ['wasm', { reasons: ['LIBTORCH is not set', "Debian's libtorch-dev is not installed"] }, 'Set-up is complete: the wasm backend (no libtorch), Node 20.20'],
    ['wasm by wish', { reasons: ['wasm was asked for'] }, 'Set-up is complete: the wasm backend, as asked for, Node 20.20'],
    ['the missing reference', { libtorch: debian, referenceMissing: true }, 'Set-up is complete: libtorch 1.13.0 (Debian), Node 20.20; not all that tests compare with'],
  ])('names %s', (_what, facts, expected) => {
    expect(completeLine({ libtorch: null, reasons: [], referenceMissing: false, node: '20.20.2', ...facts })).toBe(expected);
  });
});
