import { describe, expect, it } from 'vitest';
import { chooseEngine, libtorchName, wasmAdvice } from './engine.mjs';

const found = (kind, version = '2.7.1') => ({ kind, libtorch: { kind, version, include: '/i', lib: '/l', from: kind } });
const absent = (kind) => ({ kind, absent: `no ${kind}` });
const facts = { platform: 'linux', probes: [absent('LIBTORCH'), absent('pip'), absent('debian')], canInstall: false, failed: {} };
const withProbes = (...probes) => ({ ...facts, probes });

describe('the engine', () => {
  it.each([
    ['LIBTORCH', [found('LIBTORCH'), found('pip'), found('debian', '1.13.0')], []],
    ['pip', [absent('LIBTORCH'), found('pip'), found('debian', '1.13.0')], ['no LIBTORCH']],
    ['debian', [absent('LIBTORCH'), absent('pip'), found('debian', '1.13.0')], ['no LIBTORCH', 'no pip']],
  ])('is the first libtorch that is there: %s', (kind, probes, reasons) => {
    expect(chooseEngine(withProbes(...probes), 'auto')).toEqual({ engine: 'libtorch', libtorch: probes.find((p) => p.kind === kind).libtorch, reasons });
  });

  it('passes over a libtorch that is too old, and says so', () => {
    const choice = chooseEngine(withProbes(found('LIBTORCH', '1.12.1'), found('debian', '1.13.0')), 'auto');
    expect(choice).toMatchObject({ engine: 'libtorch', libtorch: { kind: 'debian' } });
    expect(choice.reasons).toEqual(['LIBTORCH is libtorch 1.12.1; the addon needs 1.13 or newer']);
  });

  it('passes over a libtorch whose addon failed, with the reason of then', () => {
    const pip = found('pip');
    const failed = { [libtorchName(pip.libtorch)]: 'the addon does not load' };
    expect(chooseEngine({ ...withProbes(pip, found('debian')), failed }, 'auto')).toMatchObject({ libtorch: { kind: 'debian' }, reasons: ['the addon does not load'] });
    expect(chooseEngine({ ...withProbes(found('pip', '2.8.0')), failed }, 'auto')).toMatchObject({ libtorch: { version: '2.8.0' } });
  });

  it("is Debian's alone where that was asked for", () => {
    expect(chooseEngine(withProbes(found('LIBTORCH'), found('debian')), 'debian')).toMatchObject({ libtorch: { kind: 'debian' }, reasons: [] });
    expect(chooseEngine(withProbes(found('LIBTORCH'), absent('debian')), 'debian')).toEqual({ engine: 'wasm', reasons: ['no debian'] });
  });

  it("is set-up's own torch of pip's, or that to come, where pip was asked for", () => {
    const own = { ...found('pip', '2.9.0'), own: true };
    expect(chooseEngine(withProbes(found('LIBTORCH'), own, found('pip')), 'pip')).toMatchObject({ engine: 'libtorch', libtorch: { version: '2.9.0' }, reasons: [] });
    expect(chooseEngine(withProbes(found('LIBTORCH'), found('pip'), found('debian')), 'pip')).toEqual({ engine: 'pip', reasons: [] });
    expect(chooseEngine({ ...withProbes(own), failed: { [libtorchName(own.libtorch)]: 'it does not compile' } }, 'pip')).toEqual({ engine: 'wasm', reasons: ['it does not compile'] });
  });

  it("is Debian's to come where apt can bring it", () => {
    expect(chooseEngine({ ...facts, canInstall: true }, 'auto')).toMatchObject({ engine: 'debian', reasons: ['no LIBTORCH', 'no pip', 'no debian'] });
  });

  it("is not Debian's to come where that is installed and failed", () => {
    const debian = found('debian');
    const failed = { [libtorchName(debian.libtorch)]: 'it does not compile' };
    expect(chooseEngine({ ...withProbes(debian), canInstall: true, failed }, 'auto')).toEqual({ engine: 'wasm', reasons: ['it does not compile'] });
  });

  it('is wasm where nothing is there, where it was asked for, and on another system than Linux', () => {
    expect(chooseEngine(facts, 'auto').engine).toBe('wasm');
    expect(chooseEngine(withProbes(found('debian')), 'wasm')).toEqual({ engine: 'wasm', reasons: ['wasm was asked for'] });
    expect(chooseEngine({ ...withProbes(found('pip')), platform: 'darwin' }, 'auto')).toEqual({ engine: 'wasm', reasons: ['the addon is made for Linux; this is darwin'] });
  });
});

describe('the advice', () => {
  it.each([
    ['names the missing packages', { debianLike: true, missing: ['libtorch-dev', 'libgloo-dev'], failed: false }, 'sudo apt-get install -y libtorch-dev libgloo-dev; then'],
    ['names the essential ones where it knows nothing better', { debianLike: true, missing: [], failed: false }, 'sudo apt-get install -y libtorch-dev g++; then'],
    ['knows other systems', { debianLike: false, missing: [], failed: false }, 'pip install torch'],
    ['sends to the log after a failure', { debianLike: true, missing: [], failed: true }, '.setup/log'],
  ])('%s', (_what, given, expected) => {
    const lines = wasmAdvice(given);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain('wasm');
    expect(lines[1]).toContain(expected);
  });
});
