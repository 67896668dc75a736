import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// `tsc -b` owns dist itself; the page lives in a folder of it.
export default defineConfig({
  root: fileURLToPath(new URL('src/page', import.meta.url)),
  plugins: [react()],
  build: { outDir: '../../dist/page', emptyOutDir: true, target: 'es2022', modulePreload: { polyfill: false }, assetsInlineLimit: 0, reportCompressedSize: false },
});
