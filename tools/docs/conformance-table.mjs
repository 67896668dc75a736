import { writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runProgram } from '../conformance/run.mjs';

/** Where the page lies. */
export const TABLE = fileURLToPath(new URL('../../docs/reference/operators.md', import.meta.url));

/** What of a page's rows doesn't depend on the machine: operator, dtypes, cases, gradients. */
export const claimsOf = (page) => page.split('\n').filter((line) => line.startsWith('| `')).map((line) => line.split(' | ')).map((cells) => [0, 1, 2, 4].map((i) => cells[i]).join(' | '));

/** Both backends that the table tells of, tried now. */
export const runBackends = () => runProgram('conformance', ['libtorch', 'wasm']);

/** Kernels of gradients: they are what another kernel's gradient calls. */
const isGradient = (name) => /(Grad|Backward|Backprop\w+|BackpropFilterV2|BackpropInputV2)$/.test(name);

/**
 * Operators, one a row, out of what the conformance suite found.
 * @param {{ version: string, rows: object[], kernels: object[] }} libtorch
 * @param {{ rows: object[], kernels: object[] }} wasm
 */
export function renderTable(libtorch, wasm) {
  const rows = [...libtorch.kernels].sort((a, b) => a.name.localeCompare(b.name, 'en')).filter(({ dtypes }) => dtypes.length > 0).map((kernel) => rowOf(kernel, libtorch, wasm));
  const header = ['operator', 'dtypes', 'cases', 'largest error', 'gradient', 'its largest error', 'wasm'];
  return `${[introduction(libtorch), [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')].join('\n\n')}\n`;
}

const introduction = ({ version, rows }) => `# Operators of the libtorch backend

Made by \`node tools/docs/conformance-table.mjs\` from the conformance suite (\`packages/tfjs-libtorch/src/conformance\`): ${rows.length.toLocaleString('en')} cases,
each compared with TF.js's own \`cpu\` backend, on libtorch ${version}, CPU. Shapes empty, odd and broadcast are among them, and so are NaN and
infinities.

- **dtypes**: what the suite gave the operator. bfloat16 is what libtorch holds where TF.js sees float32; its errors are those of its
  rounding, and are not counted here. Integers and booleans must be equal.
- **largest error**: absolute up to 1, relative beyond. An operator without cases of its own is called by others' gradients.
- **gradient**: the cases of TF.js's own gradient of it; "none" where TF.js has none, "zero" where it is zero everywhere (or, of \`ComplexAbs\`, can't be taken), "is one" for what
  gradients call.
- **wasm**: the same cases on TF.js's wasm backend: all agree, so many differ, or the operator isn't there. "ours" stands for an
  operator that TF.js has not.`;

function rowOf({ name, dtypes, gradient, ours }, libtorch, wasm) {
  const of = (rows) => rows.filter(({ kernel }) => kernel === name);
  const [backward, forward] = partition(of(libtorch.rows), ({ what }) => what.startsWith('gradient'));
  return [`\`${name}\``, dtypes.join(', '), forward.length, errorOf(forward), backward.length > 0 ? backward.length : isGradient(name) ? 'is one' : gradient ? 'zero' : 'none', errorOf(backward), ours ? 'ours' : wasmCell(of(wasm.rows), name, wasm)];
}

function partition(rows, test) {
  return [rows.filter(test), rows.filter((row) => !test(row))];
}

/** The largest error outside of bfloat16, to two digits. */
function errorOf(rows) {
  const errors = rows.filter(({ what }) => !what.startsWith('bfloat16')).map(({ largestError }) => largestError);
  if (errors.length === 0) return '';
  const largest = Math.max(...errors);
  return largest === 0 ? '0' : largest.toExponential(1);
}

function wasmCell(rows, name, { kernels }) {
  if (!kernels.some((kernel) => kernel.name === name)) return 'not there';
  if (rows.length === 0) return '';
  const differing = rows.filter(({ failure }) => failure !== null).length;
  return differing === 0 ? 'agrees' : `${differing} of ${rows.length} differ`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [libtorch, wasm] = await runBackends();
  const failed = libtorch.rows.filter(({ failure }) => failure !== null);
  if (failed.length > 0) throw new Error(`the suite fails: ${failed.map(({ kernel, what, failure }) => `${kernel}, ${what}: ${failure}`).join('; ')}`);
  await writeFile(TABLE, renderTable(libtorch, wasm));
  console.log(`wrote ${TABLE}`);
}
