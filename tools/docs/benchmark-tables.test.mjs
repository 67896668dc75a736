import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { PLACES, withTable } from './benchmark-tables.mjs';

describe('the tables of measurements', () => {
  it.each(PLACES.map(({ name, ...place }) => [name, place]))('are those of the results (made again by `node tools/docs/benchmark-tables.mjs`): %s', async (name, { page, results, render }) => {
    const text = await readFile(page, 'utf8');
    expect(withTable(text, name, render(JSON.parse(await readFile(results, 'utf8'))))).toBe(text);
  });

  it('refuse a page without a place for them', () => {
    expect(() => withTable('nothing here', 'train', '| a |')).toThrow('<!-- train -->');
  });
});
