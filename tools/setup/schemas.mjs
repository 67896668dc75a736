import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from './errors.mjs';
import { findProgram, readText } from './files.mjs';
import { pipInstall, pythonOf, wholeFolder } from './pip.mjs';
import { tailOf } from './run.mjs';

/**
 * What the manifests are held against, as its makers publish it: Kubernetes' own kinds out of pip's kubernetes-validate, which carries the API's
 * OpenAPI schemas, and the custom resources' definitions out of the Go modules that serve them, at the versions that the manifests name.
 */
export const KUBERNETES = ['1.30.0', '1.37.0'];
const PIP_PACKAGE = 'kubernetes-validate==1.37.0';
export const CUSTOM = [
  { name: 'JobSet', module: 'sigs.k8s.io/jobset@v0.10.1', folder: 'config/components/crd/bases', files: ['jobset.x-k8s.io_jobsets.yaml'] },
  { name: 'KServe', module: 'github.com/kserve/kserve@v0.15.2', folder: 'config/crd/full', files: ['serving.kserve.io_servingruntimes.yaml', 'serving.kserve.io_inferenceservices.yaml'] },
];
const TIMEOUT_MS = 5 * 60_000;
/** Which versions lie there: a folder of others is made anew. */
const STAMP = 'versions.json';
const WANTED = JSON.stringify({ KUBERNETES, PIP_PACKAGE, CUSTOM });

/**
 * Brings the schemas into a folder of the project's own, whole or not at all. Where they can't be had (no python3 with pip, no Go, no network)
 * a note says so: the tests that need them are left out.
 * @param {{ layout: import('./checkout.mjs').Layout, env: Record<string, string | undefined>, run: import('./run.mjs').Run, report: import('./report.mjs').Report, force: boolean }} options
 */
export async function bringSchemas({ layout, env, run, report, force }) {
  if (!force && readText(join(layout.schemas, STAMP)) === WANTED) return;
  try {
    await report.stage("Kubernetes' schemas", () => wholeFolder(layout.schemas, async (part) => {
      mkdirSync(part, { recursive: true });
      await bringCore({ part, env, run });
      for (const custom of CUSTOM) await bringCustom(custom, { part, env, run });
      writeFileSync(join(part, STAMP), WANTED);
    }));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    report.say(`The tests of Kubernetes' manifests will be left out: ${error.message} ${error.remedy}`);
  }
}

async function bringCore({ part, env, run }) {
  const site = join(part, 'pip');
  await pipInstall(run, pythonOf(env), site, [PIP_PACKAGE], ['--no-deps']);
  for (const version of KUBERNETES) copyFileSync(join(site, 'kubernetes_validate', 'kubernetes-json-schema', `v${version}-local-strict`, '_definitions.json'), join(part, `kubernetes-${version}.json`));
  rmSync(site, { recursive: true });
}

async function bringCustom({ name, module, folder, files }, { part, env, run }) {
  const go = findProgram('go', env), cache = join(part, 'go');
  if (go === null) throw new SetupError(`${name}'s resources are published as a Go module, and there is no Go here.`, "Install Go (Debian's golang-go), then run this again.");
  const { code, output } = await run([go, 'mod', 'download', '-json', '-modcacherw', module], { env: { GOMODCACHE: cache, GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local' }, timeoutMs: TIMEOUT_MS });
  if (code !== 0) throw new SetupError(`Go could not bring ${module}: ${tailOf(output, 1)[0] ?? 'it said nothing'}.`, 'Look at .setup/log, then run this again.');
  const { Dir: source } = JSON.parse(output.slice(output.indexOf('{'), output.lastIndexOf('}') + 1));
  for (const file of files) writeFileSync(join(part, file), readFileSync(join(source, folder, file)));
  rmSync(cache, { recursive: true });
}
