import { describe, expect, it } from 'vitest';
import { atLeast, standardFor, versionFromHeader } from './version.mjs';

const macros = (major, minor, patch) => `#pragma once

/// Indicates the major version of LibTorch.
#define TORCH_VERSION_MAJOR ${major}

/// Indicates the minor version of LibTorch.
#define TORCH_VERSION_MINOR ${minor}

/// Indicates the patch version of LibTorch.
#define TORCH_VERSION_PATCH ${patch}

/// Indicates the version of LibTorch.
#define TORCH_VERSION \\
  "${major}.${minor}.${patch}"
`;

describe("libtorch's version", () => {
  it('comes out of its header, with all of its digits', () => {
    expect(versionFromHeader(macros(1, 13, 0))).toBe('1.13.0');
    expect(versionFromHeader(macros(2, 10, 12))).toBe('2.10.12');
  });

  it.each([
    ['the header of 2.10, which only includes the other one', '#pragma once\n#include <torch/headeronly/version.h>\n'],
    ['a header that lacks a part', '#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 1\n'],
    ["the template before CMake has filled it in", '#define TORCH_VERSION_MAJOR @TORCH_VERSION_MAJOR@\n'],
    ['nothing', ''],
  ])('is not to be had from %s', (_what, header) => {
    expect(versionFromHeader(header)).toBeNull();
  });

  it.each([
    ['1.13.0', '1.13', true],
    ['1.12.1', '1.13', false],
    ['2.0', '1.13', true],
    ['2.10.0', '2.9', true],
    ['2.9.1', '2.10', false],
    ['2.7.1+cu128', '2.7.1', true],
    ['2.7', '2.7.1', false],
  ])('%s is at least %s: %s', (version, other, expected) => {
    expect(atLeast(version, other)).toBe(expected);
  });

  it.each([
    ['1.13.0', '#if !defined(_MSC_VER) && __cplusplus < 201402L', 17],
    ['2.5.0', '#if !defined(_MSC_VER) && __cplusplus < 201703L', 17],
    ['2.12.0', '#if !defined(_MSC_VER) && __cplusplus < 202002L', 20],
    ['2.10.0', 'no word about it', 20],
    ['2.9.0', 'no word about it', 17],
  ])('%s with ATen.h saying %j is compiled as C++%i or newer', (version, header, expected) => {
    expect(standardFor(version, header)).toBe(expected);
  });
});
