import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { bundlePlace } from '../conformance/bundle.mjs';
import { TABLE, claimsOf, renderTable, runBackends } from './conformance-table.mjs';

describe.skipIf(!existsSync(bundlePlace('tfjs_libtorch.node')))('the table of operators (where libtorch is set up)', () => {
  it('has the rows that the suite gives now (made again by `node tools/docs/conformance-table.mjs`)', async () => {
    const [libtorch, wasm] = await runBackends();
    expect(libtorch.rows.filter(({ failure }) => failure !== null)).toEqual([]);
    const claims = claimsOf(renderTable(libtorch, wasm));
    expect(claims.length).toBeGreaterThan(170);
    expect(claimsOf(await readFile(TABLE, 'utf8'))).toEqual(claims);
  });
});
