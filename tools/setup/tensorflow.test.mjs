import { join } from 'node:path';
import { expect, it } from 'vitest';
import { temporaryFolder, writeTree } from './testing.mjs';
import { bindingPlace } from './tensorflow.mjs';

it("TensorFlow's binding lies where its package looks for it: under the newest Node-API that both know", () => {
  const home = temporaryFolder();
  writeTree(home, { 'package.json': JSON.stringify({ binary: { napi_versions: [3, 8, 7] } }) });
  expect(bindingPlace(home, 10)).toBe(join(home, 'lib', 'napi-v8', 'tfjs_binding.node'));
  expect(bindingPlace(home, 7)).toBe(join(home, 'lib', 'napi-v7', 'tfjs_binding.node'));
});
