import { examineBackends } from '@chameleon/core';
import { VERSION, describeMachine, listWeights } from '@chameleon/trainer';
import { jpeg } from '@chameleon/data';
import type { Command } from 'commander';
import { backendCandidates, describeLibtorch } from '../engine.js';
import { colorsOf, print, printJson } from '../output.js';
import type { Given } from '../settings.js';

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('What this machine can compute with, what is missing, and what mends it.')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', '\nExample:\n  chameleon doctor')
    .action(async (given: Given) => {
      const backends = await examineBackends(backendCandidates());
      const findings = { chameleon: VERSION, node: process.versions.node, machine: describeMachine(), backends, libtorch: backends.some(({ name, available }) => name === 'libtorch' && available) ? await describeLibtorch() : null, jpeg: { decodedBy: jpeg.decode ? 'libjpeg-turbo' : 'sharp', problem: jpeg.problem }, weights: await listWeights() };
      if (given['json'] === true) return printJson(findings);
      print(`Chameleon ${VERSION}, Node ${process.versions.node}`);
      print(Object.entries(findings.machine).map(([name, value]) => `${name}: ${value}`).join(', '));
      const { green, red } = colorsOf(process.stdout);
      const best = backends.find((backend) => backend.available);
      print('');
      for (const { name, available, reason, remedy } of backends) {
        print(`${available ? green('yes') : red('no ')}  ${name.padEnd(11)}${available ? (name === best?.name ? 'is used' : 'is there') : `${reason}\n                ${remedy}`}`);
      }
      if (findings.libtorch) {
        const { version, path, cuda, advice } = findings.libtorch;
        print(`\nlibtorch ${version}${path === null ? '' : `, ${path}`}, ${cuda ? 'with CUDA' : 'on the processor'}`);
        if (advice !== null) print(advice);
      }
      print(`\nJPEG is decoded by ${jpeg.decode ? 'libjpeg-turbo' : `sharp${jpeg.problem === null ? '' : `, for libjpeg-turbo's addon doesn't load (${jpeg.problem})`}; \`npm run setup\` where libjpeg-dev is installed makes it faster`}.`);
      const pulled = findings.weights.filter((row) => row.state !== 'to be pulled').map((row) => row.name);
      print(`\nWeights at hand: ${pulled.join(', ') || 'none'}; \`chameleon weights list\` shows the rest.`);
      if (!best) process.exitCode = 1;
    });
}
