import { describe, expect, it } from 'vitest';
import { installPackages, isPaused } from './bring-engine.mjs';
import { createReport } from './report.mjs';
import { emptyState } from './state.mjs';
import { keptReport } from './testing.mjs';

/** Installs with an apt whose answers are given, by the last words of its command. */
async function installWith(answers, packages) {
  const asked = [];
  const run = async (command) => {
    const words = command.slice(command.indexOf(command.includes('update') ? 'update' : '--no-install-recommends')).filter((word) => !word.startsWith('--')).join(' ');
    asked.push(words);
    return answers[words] ?? { code: 0, output: '' };
  };
  const { kept, write, warn } = keptReport();
  const report = createReport({ write, verbose: false, now: () => 0 });
  const state = await installPackages(packages, { run, report, warn, root: true }, emptyState());
  return { asked: asked.filter((words) => words !== ''), state, kept };
}

const unknown = { code: 100, output: 'E: Unable to locate package libdnnl-dev\n' };

describe('an installation', () => {
  it('fetches the lists and installs', async () => {
    const { asked, state, kept } = await installWith({}, ['g++', 'libgloo-dev']);
    expect(asked).toEqual(['update', 'g++ libgloo-dev']);
    expect(state).toEqual(emptyState());
    expect(kept).toEqual({ printed: 'packages (g++, libgloo-dev) … installed in 0.0 s\n', warned: [] });
  });

  it("is tried again without what apt doesn't know, which is remembered", async () => {
    const { asked, state, kept } = await installWith({ 'g++ libdnnl-dev': unknown }, ['g++', 'libdnnl-dev']);
    expect(asked).toEqual(['update', 'g++ libdnnl-dev', 'update', 'g++']);
    expect(state).toEqual({ ...emptyState(), unavailable: ['libdnnl-dev'] });
    expect(kept.printed).toContain("installed but for libdnnl-dev, which apt doesn't know, in");
  });

  it('takes nothing for unknown for good while the lists are not fresh', async () => {
    const stale = { code: 0, output: 'W: Some index files failed to download. They have been ignored, or old ones used instead.\n' };
    const { state, kept } = await installWith({ update: stale, 'g++ libdnnl-dev': unknown }, ['g++', 'libdnnl-dev']);
    expect(state).toMatchObject({ unavailable: [], aptFailure: { packages: ['libdnnl-dev'] } });
    expect(kept.warned.at(-1)).toContain('apt could not install libdnnl-dev');
  });

  it('that fails is remembered and told with its last lines, and is no error', async () => {
    const { state, kept } = await installWith({ 'g++': { code: 100, output: 'E: Failed to fetch the archive\n' } }, ['g++']);
    expect(state.aptFailure.packages).toEqual(['g++']);
    expect(kept.warned[0]).toBe('E: Failed to fetch the archive');
    expect(kept.warned.at(-1)).toContain('sudo apt-get install -y g++');
    expect(kept.printed).toContain('not all installed');
  });
});

describe('a pause after a failure', () => {
  const hour = 3_600_000;
  const failure = { packages: ['g++', 'libgloo-dev'], at: 1000 };
  it.each([
    ['holds for the same packages', ['g++'], hour, true],
    ['ends after a day', ['g++'], 25 * hour, false],
    ['does not hold for another one', ['g++', 'python3-torch'], hour, false],
  ])('%s', (_what, packages, later, expected) => {
    expect(isPaused(packages, failure, failure.at + later)).toBe(expected);
  });

  it('is none without a failure', () => {
    expect(isPaused(['g++'], null, 0)).toBe(false);
  });
});
