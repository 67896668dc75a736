/**
 * Whether node_modules holds what package-lock.json asks for. npm leaves a lock of its own in node_modules, of what it has installed:
 * after the developer's own `npm install` the two agree, and nothing is to be done. An interrupted `npm ci` has left none.
 * @param {string} lockText package-lock.json
 * @param {string | null} installedText node_modules/.package-lock.json
 * @param {(path: string) => boolean} exists whether a package's folder is there
 */
export function modulesMatch(lockText, installedText, exists) {
  const installed = packagesOf(installedText);
  if (!installed) return false;
  return Object.entries(packagesOf(lockText) ?? {}).every(([path, wanted]) => {
    if (!path.startsWith('node_modules/') && !path.includes('/node_modules/')) return true;
    const found = installed[path];
    if (!found) return wanted.optional === true;
    return found.version === wanted.version && found.integrity === wanted.integrity && found.resolved === wanted.resolved && exists(path);
  });
}

function packagesOf(text) {
  try {
    return JSON.parse(text ?? '').packages ?? null;
  } catch {
    return null;
  }
}
