import { defineConfig } from 'vitest/config';
import base from '../vitest.config.ts';

// As the packages' tests, in plain JavaScript: set-up runs before there is a compiler.
export default defineConfig({ ...base, test: { ...base.test, include: ['**/*.test.mjs'] } });
