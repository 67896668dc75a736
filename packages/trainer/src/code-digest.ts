import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a worker computes with: a change in any of them may change what a step gives. */
const PACKAGES = ['core', 'data', 'tfjs-libtorch', 'trainer'];

let known: string | null = null;

/**
 * SHA-256 over the built JavaScript of the packages that train, by name and bytes, so that two sides with the same version
 * number but another build know it before the first step. Made once: the files of a program that runs may be replaced.
 */
export function codeDigest(): string {
  if (known !== null) return known;
  const hash = createHash('sha256');
  for (const name of PACKAGES) for (const [path, bytes] of builtFiles(fileURLToPath(new URL(`../../${name}/dist/`, import.meta.url)))) hash.update(`${name}/${path}\0${bytes.length}\0`).update(bytes);
  return (known = hash.digest('hex'));
}

/** The built files of a package in order; none where it is not installed. Tests and their helpers don't take part in a step. */
function builtFiles(folder: string): [path: string, bytes: Buffer][] {
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const paths = names.map((name) => name.replaceAll('\\', '/')).filter((name) => name.endsWith('.js') && !/(^|\/)testing\/|\.test\.js$/.test(name));
  return paths.sort().map((path) => [path, readFileSync(`${folder}${path}`)]);
}
