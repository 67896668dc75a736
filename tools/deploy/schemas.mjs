import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { fromJSONSchema } from 'zod';

/** Holds manifests to the published schemas that `setup --with-reference` brings (tools/setup/schemas.mjs). */

const FOLDER = fileURLToPath(new URL('../../.setup/schemas', import.meta.url));
export const hasSchemas = existsSync(FOLDER);

/**
 * What a cluster of this version would refuse in a manifest, a sentence each. Fields that the schema doesn't know count too, as with
 * `kubectl apply --validate=strict`.
 * @param {object} manifest @param {string} version of Kubernetes, for its own kinds
 * @returns {string[]}
 */
export function problemsOf(manifest, version) {
  const { error } = schemaOf(manifest, version).safeParse(manifest);
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.') || manifest.kind}: ${message}`);
}

const schemas = new Map();
function schemaOf({ apiVersion, kind }, version) {
  const key = `${apiVersion} ${kind} ${version}`;
  if (!schemas.has(key)) schemas.set(key, fromJSONSchema(customSchema(apiVersion, kind) ?? coreSchema(apiVersion, kind, version)));
  return schemas.get(key);
}

/** A custom resource's, out of its definition; null where that is not among those brought. */
function customSchema(apiVersion, kind) {
  const [group, version] = apiVersion.split('/'), path = join(FOLDER, `${group}_${kind.toLowerCase()}s.yaml`);
  if (!existsSync(path)) return null;
  const found = parse(readFileSync(path, 'utf8')).spec.versions.find(({ name }) => name === version);
  if (found === undefined) throw new Error(`${kind} has no version ${version}`);
  return strict(found.schema.openAPIV3Schema);
}

/** One of Kubernetes' own kinds, with the definitions that it leads to. */
function coreSchema(apiVersion, kind, version) {
  const { $defs } = JSON.parse(readFileSync(join(FOLDER, `kubernetes-${version}.json`), 'utf8'));
  const [group, level] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  const name = Object.keys($defs).find((one) => $defs[one]['x-kubernetes-group-version-kind']?.some((of) => of.group === group && of.version === level && of.kind === kind));
  if (name === undefined) throw new Error(`Kubernetes ${version} has no ${kind} of ${apiVersion}`);
  const used = {};
  const follow = (one) => {
    if (one in used) return;
    used[one] = withoutNull($defs[one]);
    for (const [, next] of JSON.stringify($defs[one]).matchAll(/"\$ref":"#\/\$defs\/([^"]+)"/g)) follow(next);
  };
  follow(name);
  return { $ref: `#/$defs/${name}`, $defs: used };
}

/** kubernetes-validate lets every field be null as well; said as a choice of two, a mistake deep in one of them could not be named. */
function withoutNull(schema) {
  if (Array.isArray(schema)) return schema.map(withoutNull);
  if (typeof schema !== 'object' || schema === null) return schema;
  return Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, name === 'type' && Array.isArray(value) && value.length === 2 && value[1] === 'null' ? value[0] : withoutNull(value)]));
}

/** A structural schema drops the fields that it doesn't know; a typo in a manifest is to be refused instead. */
function strict(schema) {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== 'object' || schema === null) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, name === 'properties' ? Object.fromEntries(Object.entries(value).map(([field, of]) => [field, strict(of)])) : strict(value)]));
  return inner.properties && !inner['x-kubernetes-preserve-unknown-fields'] && inner.additionalProperties === undefined ? { ...inner, additionalProperties: false } : inner;
}
