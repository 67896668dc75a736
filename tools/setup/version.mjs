/** The oldest libtorch that the addon compiles against. */
export const OLDEST = '1.13';

/**
 * The version out of libtorch's headers: `torch/version.h`, or `torch/headeronly/version.h` since 2.10.
 * @param {string} header
 * @returns {string | null} "1.13.0"
 */
export function versionFromHeader(header) {
  const parts = ['MAJOR', 'MINOR', 'PATCH'].map((part) => new RegExp(`^#define TORCH_VERSION_${part} (\\d+)`, 'm').exec(header)?.[1]);
  return parts.includes(undefined) ? null : parts.join('.');
}

/** Whether `version` is `other` or newer; both like "2.7.1" or "2.7". What follows the numbers ("+cu128") doesn't count. */
export function atLeast(version, other) {
  const [a, b] = [version, other].map((text) => text.split(/[.+]/).map((part) => Number.parseInt(part, 10)));
  for (let i = 0; i < b.length; i++) {
    if ((a[i] || 0) !== b[i]) return (a[i] || 0) > b[i];
  }
  return true;
}

/**
 * The C++ standard that libtorch's headers ask for: 17, or 20 since 2.10. ATen.h says so itself; where it doesn't, the version decides.
 * @param {string} version
 * @param {string} atenHeader the text of ATen/ATen.h
 * @returns {17 | 20}
 */
export function standardFor(version, atenHeader) {
  if (/__cplusplus < 202002L/.test(atenHeader)) return 20;
  return /__cplusplus < 20\d{4}L/.test(atenHeader) || !atLeast(version, '2.10') ? 17 : 20;
}
