import { describe, expect, it } from 'vitest';
import { isDebianLike, parseOsRelease } from './os-release.mjs';

describe('/etc/os-release', () => {
  it('is read with its quotes, escapes, comments and blank lines', () => {
    const text = ['# a comment', 'ID=debian', "NAME='Debian GNU/Linux'", 'PRETTY_NAME="A \\"quoted\\" \\$name"', '', '  VERSION_ID="12"  ', 'not a line', 'lower=no'].join('\r\n');
    expect(parseOsRelease(text)).toEqual({ ID: 'debian', NAME: 'Debian GNU/Linux', PRETTY_NAME: 'A "quoted" $name', VERSION_ID: '12' });
  });

  it.each([
    ['ID=debian', true],
    ['ID=ubuntu\nID_LIKE=debian', true],
    ['ID=linuxmint\nID_LIKE="ubuntu debian"', true],
    ['ID=fedora', false],
    ['ID=rocky\nID_LIKE="rhel centos fedora"', false],
    ['ID=debianish', false],
    ['', false],
  ])('%j is like Debian: %s', (text, expected) => {
    expect(isDebianLike(parseOsRelease(text))).toBe(expected);
  });
});
