import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

/**
 * TF.js's ES modules do not load in Node as they are (they import folders), and its build for Node holds no tests: so the runner, the
 * backend and the cases become one file. It lies one folder below the package, for the addon is looked for from there.
 */
export async function bundlePublishedTests(file: string): Promise<void> {
  const bundle = await rolldown({
    input: fileURLToPath(new URL('main.ts', import.meta.url)),
    platform: 'node',
    resolve: { mainFields: ['module', 'main'], conditionNames: ['@chameleon/source', 'import', 'node'] },
    external: [/jasmine-core/],
    logLevel: 'silent',
    // The package says that its cases have no effects.
    treeshake: false,
  });
  await bundle.write({ file, format: 'esm', codeSplitting: false, sourcemap: false });
  await bundle.close();
}
