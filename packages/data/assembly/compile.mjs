import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

/** `node assembly/compile.mjs` writes src/generated/resize-wasm.ts anew from assembly/resize.ts. */

const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8');

/** The text of src/generated/resize-wasm.ts. */
export async function compile() {
  let wasm = null;
  const files = { readFile: (name) => (name === 'resize.ts' ? read(name) : null), writeFile: (name, content) => void (name === 'resize.wasm' && (wasm = content)), listFiles: () => [] };
  const { error, stderr } = await asc.main(['resize.ts', '--outFile', 'resize.wasm', '-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd'], files);
  if (error) throw new Error(`assembly/resize.ts can't be compiled:\n${stderr.toString()}`);
  return `/** assembly/resize.ts, compiled; \`node assembly/compile.mjs\` makes it anew. */\nexport const RESIZE_WASM = '${Buffer.from(wasm).toString('base64')}';\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(new URL('../src/generated/resize-wasm.ts', import.meta.url), await compile());
