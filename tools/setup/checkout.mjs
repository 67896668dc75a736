import { join } from 'node:path';

/**
 * Where things lie in a checkout.
 * @param {string} root the folder of the top package.json
 */
export function layoutOf(root) {
  const setup = join(root, '.setup');
  const addonPackage = join(root, 'packages', 'tfjs-libtorch');
  return {
    root,
    packages: join(root, 'packages'),
    modules: join(root, 'node_modules'),
    lockfile: join(root, 'package-lock.json'),
    setup,
    log: join(setup, 'log'),
    state: join(setup, 'state.json'),
    lock: join(setup, 'lock'),
    pip: join(setup, 'pip'),
    tensorflow: join(setup, 'tensorflow'),
    schemas: join(setup, 'schemas'),
    addonSources: join(addonPackage, 'addon'),
    addonBuild: join(addonPackage, 'build'),
    addon: join(addonPackage, 'build', 'tfjs_libtorch.node'),
    jpegSources: join(root, 'packages', 'data', 'addon'),
    jpegAddon: join(root, 'packages', 'data', 'build', 'jpeg.node'),
  };
}

/** @typedef {ReturnType<typeof layoutOf>} Layout */
