import { defineConfig } from 'vitest/config';

// Tests import the packages' sources, not what was built of them; the few that start processes use the build.
export default defineConfig({
  ssr: { resolve: { conditions: ['@chameleon/source', 'node', 'import', 'module', 'default'] } },
  resolve: { conditions: ['@chameleon/source', 'node', 'import', 'module', 'default'] },
  test: {
    include: ['src/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    passWithNoTests: false,
  },
});
