import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The files of real photographs, of about 500 x 375 px and less, as clients send them. */
export async function readPhotographs() {
  if (!process.env.CHAMELEON_TEST_DATA) throw new Error('Set CHAMELEON_TEST_DATA: the photographs of images/hymenoptera are sent.');
  const folder = join(process.env.CHAMELEON_TEST_DATA, 'images/hymenoptera/val');
  const names = (await Promise.all((await readdir(folder)).sort().map(async (label) => (await readdir(join(folder, label))).sort().map((name) => join(folder, label, name))))).flat();
  return Promise.all(names.map((name) => readFile(name)));
}
