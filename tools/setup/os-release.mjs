/**
 * Parses /etc/os-release (os-release(5)): lines NAME=value, with shell quoting, comments and blank lines.
 * @param {string} text
 * @returns {Record<string, string>}
 */
export function parseOsRelease(text) {
  const fields = {};
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*([A-Z][A-Z0-9_]*)=(.*?)\s*$/.exec(line);
    if (match) fields[match[1]] = unquote(match[2]);
  }
  return fields;
}

function unquote(value) {
  const single = /^'([^']*)'$/.exec(value);
  if (single) return single[1];
  const double = /^"((?:[^"\\]|\\.)*)"$/.exec(value);
  return (double ? double[1] : value).replace(/\\(.)/g, '$1');
}

/** Whether apt is this system's way and its packages have Debian's names: Debian, Ubuntu, and what says that it is like them. */
export function isDebianLike(fields) {
  const ids = [fields.ID ?? '', ...(fields.ID_LIKE ?? '').split(/\s+/)];
  return ids.includes('debian') || ids.includes('ubuntu');
}
