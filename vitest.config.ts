import { defineConfig } from 'vitest/config';

// Tests import the packages' sources, not what was built of them; the few that start processes use the build.
export default defineConfig({
  // `import` is not among them: what a package requires would then be given its ES module.
  ssr: { resolve: { conditions: ['@chameleon/source', 'node'] } },
  resolve: { conditions: ['@chameleon/source', 'node'] },
  test: {
    include: ['src/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    passWithNoTests: false,
    // Some tests start browsers, servers and workers: on a busy machine one may lose a race. The summary says which were tried again.
    retry: 1,
  },
});
