import { describe, expect, it } from 'vitest';
import { missingReference, nextStep } from './plan.mjs';

const ALL = ['libtorch-dev', 'libopenblas0-pthread', 'libgloo-dev', 'libdnnl-dev', 'libjpeg-dev'];
const found = (kind) => ({ kind, libtorch: { kind, version: '2.7.1', include: '/i', lib: '/l', from: kind } });
const absent = (kind) => ({ kind, absent: `no ${kind}` });
const bare = { platform: 'linux', debianLike: true, installed: new Set(), compiler: null, probes: [absent('pip'), absent('debian')] };
const ready = { ...bare, installed: new Set([...ALL, 'g++']), compiler: '/usr/bin/g++', probes: [absent('pip'), found('debian')] };
const facts = { machine: bare, failed: {}, unavailable: [], engine: 'auto', reference: false, canInstall: true };

describe('the next step', () => {
  it.each([
    ["on a bare machine: Debian's libtorch and a compiler", {}, { do: 'install', packages: [...ALL, 'g++'] }],
    ['the reference with them', { reference: true }, { do: 'install', packages: [...ALL, 'g++', 'python3-torch', 'python3-torchvision', 'chromium', 'prometheus', 'openssh-server', 'slurm-wlm', 'munge', 'iproute2'] }],
    ['without rights: wasm, and what is missing', { canInstall: false }, { do: 'wasm', missing: [...ALL, 'g++'], reasons: ['no pip', 'no debian'] }],
    ['where all is there: the addon', { machine: ready }, { do: 'addon', libtorch: found('debian').libtorch, reasons: ['no pip'] }],
    ['a compiler for a libtorch that is there', { machine: { ...bare, probes: [found('pip')] } }, { do: 'install', packages: ['libjpeg-dev', 'g++'] }],
    ['no compiler to be had: wasm', { machine: { ...bare, probes: [found('pip')] }, canInstall: false }, { do: 'wasm', missing: ['libjpeg-dev', 'g++'], reasons: ['there is no C++ compiler'] }],
    ["what goes with Debian's libtorch", { machine: { ...ready, installed: new Set(['libtorch-dev']) } }, { do: 'install', packages: ALL.slice(1) }],
    ["the addon without it, where it can't be installed", { machine: { ...ready, installed: new Set(['libtorch-dev']) }, canInstall: false }, { do: 'addon', libtorch: found('debian').libtorch, reasons: ['no pip'] }],
    ["wasm where apt doesn't know libtorch", { unavailable: ['libtorch-dev'] }, { do: 'wasm', missing: [...ALL, 'g++'], reasons: ['no pip', 'no debian'] }],
    ['the reference for wasm too', { engine: 'wasm', reference: true }, { do: 'install', packages: ['python3-torch', 'python3-torchvision', 'chromium', 'prometheus', 'openssh-server', 'slurm-wlm', 'munge', 'iproute2'] }],
    ["pip's torch, where it was asked for", { machine: ready, engine: 'pip' }, { do: 'pip' }],
    ['a compiler before it', { engine: 'pip' }, { do: 'install', packages: ['libjpeg-dev', 'g++'] }],
    ['nothing else for wasm', { engine: 'wasm' }, { do: 'wasm', missing: [], reasons: ['wasm was asked for'] }],
    ['after a failure: the next libtorch', { machine: { ...ready, probes: [found('pip'), found('debian')] }, failed: { '2.7.1 pip': 'broken' } }, { do: 'addon', libtorch: found('debian').libtorch, reasons: ['broken'] }],
    ['after the last failure: wasm', { machine: ready, failed: { '2.7.1 debian': 'broken' } }, { do: 'wasm', missing: [], reasons: ['no pip', 'broken'] }],
  ])('%s', (_what, given, expected) => {
    expect(nextStep({ ...facts, ...given })).toEqual(expected);
  });
});

describe('the reference', () => {
  it("is Debian's PyTorch and torchvision", () => {
    expect(missingReference(bare)).toEqual(['python3-torch', 'python3-torchvision', 'chromium', 'prometheus', 'openssh-server', 'slurm-wlm', 'munge', 'iproute2']);
    expect(missingReference({ ...bare, installed: new Set(['python3-torch', 'python3-torchvision', 'chromium', 'prometheus', 'openssh-server', 'slurm-wlm', 'munge', 'iproute2']) })).toEqual([]);
  });
});
