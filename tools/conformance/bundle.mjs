import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const PACKAGE = new URL('../../packages/tfjs-libtorch/', import.meta.url);

/** TF.js's wasm backend was made for modules that know their folder. */
const DIRNAME = `import { fileURLToPath as pathOf } from 'node:url';\nconst __dirname = pathOf(new URL('.', import.meta.url));`;

/** A place for a bundle: the backend looks for its addon in the folder build beside the folder that it lies in. */
export const bundlePlace = (name) => fileURLToPath(new URL(`build/${name}`, PACKAGE));

/**
 * Makes one file of a program of the backend's tests, `published` or `conformance`, with the backend itself and TF.js: TF.js's ES modules do
 * not load in Node as they are (they import folders), and its build for Node holds neither its tests nor its gradients.
 * @param {'published' | 'conformance'} program
 * @param {string} file
 */
export async function bundleProgram(program, file) {
  const bundle = await rolldown({
    input: fileURLToPath(new URL(`src/testing/${program}/main.ts`, PACKAGE)),
    platform: 'node',
    resolve: { mainFields: ['module', 'main'], conditionNames: ['@chameleon/source', 'import', 'node'] },
    external: [/jasmine-core/],
    logLevel: 'silent',
    // TF.js's package says that its cases have no effects.
    treeshake: false,
  });
  await bundle.write({ file, format: 'esm', codeSplitting: false, sourcemap: false, banner: DIRNAME });
  await bundle.close();
}
