#!/usr/bin/env node
// Everything that a fresh clone needs, as often as you like: `node tools/setup.mjs --help`.
// An older Node can parse this file, so that it can be told what to do; the rest is loaded after the check.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 10)) {
  console.error(`Chameleon needs Node 20.10 or newer; this is ${process.versions.node} (${process.execPath}).`);
  console.error('Install a newer one, from https://nodejs.org or with your version manager, and run this again.');
  process.exit(1);
}
const { main } = await import('./setup/main.mjs');
process.exitCode = await main(process.argv.slice(2));
