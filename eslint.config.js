import { dirname, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import tseslint from 'typescript-eslint';

const root = dirname(fileURLToPath(import.meta.url));

/** Who may import whom: dependencies point one way. */
const mayImport = {
  core: [],
  'tfjs-libtorch': [],
  data: ['core'],
  trainer: ['core', 'data'],
  'inference-server': ['core', 'data'],
  dashboard: [],
  cli: ['core', 'tfjs-libtorch', 'data', 'trainer', 'inference-server', 'dashboard'],
};
const packages = Object.keys(mayImport);

/** Patterns that match every package of ours but the allowed ones, from wherever a file stands. */
function forbidden(name, alsoAllowed = []) {
  const allowed = [name, ...mayImport[name], ...alsoAllowed];
  return packages.filter((p) => !allowed.includes(p)).map((p) => `@chameleon/${p}`);
}

/** ESLint runs in a package's folder or at the root: globs are relative to this file either way. */
const inPackage = (name, glob) => [`packages/${name}/${glob}`, glob].filter((g, i) => i === 0 || process.cwd().split(sep).join('/').endsWith(relative(root, `${root}/packages/${name}`).split(sep).join('/')));

const nodeGlobals = ['process', 'console', 'Buffer', 'URL', 'AbortController', 'AbortSignal', 'performance', 'structuredClone', 'TextDecoder', 'TextEncoder', 'fetch', ...['Timeout', 'Interval', 'Immediate'].flatMap((name) => [`set${name}`, `clear${name}`])];
const plainRules = ['no-undef', 'no-unreachable', 'no-const-assign', 'no-dupe-keys', 'no-dupe-else-if', 'no-redeclare', 'no-self-assign', 'no-unsafe-finally', 'no-fallthrough', 'no-cond-assign', 'use-isnan', 'valid-typeof'];

export default tseslint.config(
  { ignores: ['**/dist/**', '**/build/**', '**/assembly/*.ts', '**/node_modules/**', '**/generated/**', '**/.nx/**'] },
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: root } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': 'off',
      // TF.js's generic types make it call assertions unnecessary without which tsc fails.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      '@typescript-eslint/require-await': 'off',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
    },
  },
  ...packages.map((name) => ({
    files: ['ts', 'tsx'].flatMap((ending) => inPackage(name, `src/**/*.${ending}`)),
    rules: { 'no-restricted-imports': ['error', { paths: forbidden(name).map((p) => ({ name: p, message: `packages/${name} may import ${mayImport[name].join(', ') || 'nothing of ours'}.` })) }] },
  })),
  // Tests may also drive the real engine.
  ...packages.map((name) => ({
    files: inPackage(name, 'src/**/*.test.ts').concat(inPackage(name, 'src/testing/**/*.ts')),
    rules: { 'no-restricted-imports': ['error', { paths: forbidden(name, ['tfjs-libtorch']).map((p) => ({ name: p })) }] },
  })),
  // The heart of core runs in a browser too.
  {
    files: inPackage('core', 'src/**/*.ts'),
    ignores: ['**/*.test.ts', '**/testing/**'],
    rules: { 'no-restricted-imports': ['error', { patterns: ['node:*', '@chameleon/*'] }] },
  },
  { files: inPackage('cli', 'src/**/*.ts'), rules: { 'no-console': 'off' } },
  // Plain JavaScript: there is no compiler that would find these.
  {
    files: ['tools/**/*.mjs'],
    extends: [tseslint.configs.recommended],
    languageOptions: { globals: Object.fromEntries(nodeGlobals.map((name) => [name, 'readonly'])) },
    rules: { ...Object.fromEntries(plainRules.map((name) => [name, 'error'])), eqeqeq: ['error', 'always', { null: 'ignore' }], '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }] },
  },
);
