import { detectArchitecture } from '@chameleon/core';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../testing/small-run.js';
import { KNOWN_WEIGHTS, listWeights } from './registry.js';
import { openWeights } from './resolve.js';

describe('weights by name', () => {
  it('are listed, the embedded ones at hand', async () => {
    await using folder = await temporaryFolder();
    const rows = await listWeights(folder.path);
    expect(rows.map((row) => row.name)).toEqual(KNOWN_WEIGHTS.map((known) => known.name));
    expect(rows[0]).toMatchObject({ name: 'embedded', state: 'embedded' });
    expect(rows[0]!.bytes).toBeLessThan(4e6);
    expect(rows.slice(1).every((row) => row.state === 'to be pulled')).toBe(true);
  });

  it('open: the embedded backbone is what its name says', async () => {
    expect(detectArchitecture((await openWeights('embedded')).tensors)?.name).toBe('resnet16w32');
  });

  it('that are mistyped or not here say what to do', async () => {
    await using folder = await temporaryFolder();
    await expect(openWeights('resnet43', folder.path)).rejects.toThrow(/Did you mean resnet/);
    await expect(openWeights('resnet34', folder.path)).rejects.toThrow(/chameleon weights pull resnet34/);
  });
});
