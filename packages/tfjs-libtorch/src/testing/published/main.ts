// Runs TF.js's own published cases for the operators on one backend: `node FILE BACKEND [PATTERN]`, as bundled by bundle.ts. The order
// of these imports matters: Jasmine's functions, then the backends to test, then the cases, which describe themselves for each of them.
import { runCases } from './jasmine.js';
import { BACKEND } from './backends.js';
import '@tensorflow/tfjs-core/dist/tests.js';
import { writeFileSync } from 'node:fs';

const pattern = new RegExp(process.argv[4] ?? '');
// A case that is described for a backend carries its name and flags; the others test parts of TF.js that have nothing to do with one.
const results = await runCases((name) => name.includes(` ${BACKEND} {}`) && pattern.test(name));
writeFileSync(process.argv[3]!, JSON.stringify(results.map((result) => ({ ...result, name: result.name.replace(` ${BACKEND} {}`, '') }))));
process.exit(0);
