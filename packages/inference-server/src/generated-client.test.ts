import { execFile } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import openapiTS, { type OpenAPI3, astToString } from 'openapi-typescript';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { temporaryFolder, writeRandomModel } from './testing/models.js';
import { drawPicture } from './testing/pictures.js';
import { startTestServer } from './testing/server.js';

/** A program of the kind that somebody writes who has only /openapi.json: openapi-typescript makes the types, openapi-fetch calls by them. */
const PROGRAM = `
import { readFile } from 'node:fs/promises';
import createClient from 'openapi-fetch';
import type { components, paths } from './api.js';

const [url, file] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url });
const bytes = await readFile(file);

function asForm(body: unknown): FormData {
  const form = new FormData();
  for (const picture of (body as { image: Blob[] }).image) form.append('image', picture, 'picture.jpg');
  return form;
}

const images: components['schemas']['Images'] = { images: [{ b64: bytes.toString('base64') }] };
const form = await client.POST('/v1/classify', { params: { query: { top_k: 2 } }, body: { image: [new Blob([bytes]), new Blob([bytes])] }, bodySerializer: asForm });
const json = await client.POST('/v1/classify', { body: images });
const explained = await client.POST('/v1/explain', { params: { query: { label: 'normal' } }, body: images });
const listed = await client.GET('/v1/models');
const live = await client.GET('/livez'), ready = await client.GET('/readyz');
const inferred = await client.POST('/v2/models/{model}/infer', { params: { path: { model: 'clothes' } }, body: { inputs: [{ name: 'image', shape: [1], datatype: 'BYTES', data: [bytes.toString('base64')] }] } });
const unknown = await client.POST('/v1/classify', { params: { query: { model: 'cloths' } }, body: images });
const damaged = await client.POST('/v1/classify', { body: { image: [new Blob(['no picture'])] }, bodySerializer: asForm });

const label: string | undefined = form.data?.predictions[0]?.classes[0]?.label;
const probability: number | undefined = json.data?.predictions[0]?.classes[0]?.probability;
const region: { left: number; top: number; width: number; height: number } | undefined = explained.data?.predictions[0]?.heatmap.region;
const stable: string | null | undefined = listed.data?.models[0]?.labels.stable;
const isReady: true | undefined = ready.data?.ready, isLive: true | undefined = live.data?.live;
const problems: (components['schemas']['Problem'] | undefined)[] = [unknown.error, damaged.error];

// What the document doesn't have, the types refuse.
// @ts-expect-error there is no such call
void (() => client.GET('/v1/nothing'));
// @ts-expect-error top_k is a number
void (() => client.POST('/v1/classify', { params: { query: { top_k: 'two' } }, body: images }));
// @ts-expect-error pictures are called b64
void (() => client.POST('/v1/classify', { body: { images: [{ base64: '' }] } }));
// @ts-expect-error a prediction has no such field
void json.data?.predictions[0]?.certainty;

console.log(JSON.stringify({ form: form.data, json: json.data, explained: explained.data, listed: listed.data, inferred: inferred.data, label, probability, region, stable, isReady, isLive, problems, statuses: [unknown.response.status, damaged.response.status] }));
`;

const SETTINGS = { compilerOptions: { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, target: 'ES2022', module: 'NodeNext', types: ['node'], outDir: 'out', rootDir: '.' }, files: ['program.ts'] };
const ROOT_MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));

/** Files are Blobs; otherwise the generator calls them texts. */
const transform = (schema: { format?: string }) => (schema.format === 'binary' ? ts.factory.createTypeReferenceNode('Blob') : undefined);

test('a client generated from /openapi.json is type-checked and drives the running server', { timeout: 120_000 }, async () => {
  await using folder = await temporaryFolder();
  const picture = await drawPicture(1);
  await writeRandomModel(join(folder.path, 'model'));
  await using server = await startTestServer({ models: [{ path: join(folder.path, 'model') }] });

  const client = join(folder.path, 'client'), at = (name: string) => join(client, name), run = promisify(execFile);
  await mkdir(client);
  await symlink(ROOT_MODULES, at('node_modules'));
  const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as OpenAPI3;
  await Promise.all([
    writeFile(at('api.ts'), astToString(await openapiTS(document, { transform }))),
    writeFile(at('program.ts'), PROGRAM),
    writeFile(at('picture.jpg'), picture),
    writeFile(at('package.json'), '{"type":"module"}'),
    writeFile(at('tsconfig.json'), JSON.stringify(SETTINGS)),
  ]);
  const checked = await run(process.execPath, [join(ROOT_MODULES, 'typescript/bin/tsc'), '--project', client], { timeout: 90_000 }).catch((error: unknown) => error as { stdout: string });
  expect(checked.stdout).toBe('');
  const { stdout } = await run(process.execPath, [at('out/program.js'), server.url, at('picture.jpg')], { timeout: 30_000 });
  const said = JSON.parse(stdout) as Record<'form' | 'json' | 'explained', { predictions: { classes: { label: string; probability: number }[] }[] }> & Record<string, unknown>;

  const direct = (await (await fetch(`${server.url}/v1/classify`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: Uint8Array.from(picture) })).json()) as typeof said.form;
  const seen = (await (await fetch(`${server.url}/v1/explain?label=normal`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: Uint8Array.from(picture) })).json()) as { predictions: { heatmap: { region: object } }[] };
  expect(direct.predictions[0]!.classes).toHaveLength(3);
  expect(said.json.predictions).toEqual(direct.predictions);
  expect(said.form.predictions.map(({ classes }) => classes.map(({ label }) => label))).toEqual(Array.from({ length: 2 }, () => direct.predictions[0]!.classes.slice(0, 2).map(({ label }) => label)));
  expect(said).toMatchObject({
    label: direct.predictions[0]!.classes[0]!.label, probability: direct.predictions[0]!.classes[0]!.probability,
    region: seen.predictions[0]!.heatmap.region, stable: '1', isReady: true, isLive: true, statuses: [404, 415],
    explained: { predictions: [{ heatmap: { label: 'normal' } }] },
    listed: { models: [{ name: 'clothes', versions: [{ version: '1', status: 'ready' }] }] },
    inferred: { model_name: 'clothes', outputs: [{ name: 'probabilities', shape: [1, 3] }, { name: 'label', data: [direct.predictions[0]!.classes[0]!.label] }] },
    problems: [{ type: 'urn:chameleon:problem:unknown-model', status: 404, detail: expect.stringContaining('Did you mean clothes?') as unknown }, { type: 'urn:chameleon:problem:unsupported-type', status: 415 }],
  });
});
