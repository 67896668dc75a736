#!/usr/bin/env node
import { main } from '../dist/main.js';

// Whoever reads may have seen enough: `chameleon train --help | head -3`.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
process.exitCode = await main(process.argv.slice(2));
