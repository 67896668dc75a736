import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { kubernetesManifests } from '../../packages/trainer/src/launch/kubernetes.ts';
import { KUBERNETES } from '../setup/schemas.mjs';
import { hasSchemas, problemsOf } from './schemas.mjs';

const documentsOf = (text) => parseAllDocuments(text, { uniqueKeys: true }).map((document) => {
  expect(document.errors).toEqual([]);
  return document.toJS();
});
const written = ['kubernetes/chameleon.yaml', 'kserve/runtime.yaml', 'kserve/inference-service.yaml'].flatMap((path) => documentsOf(readFileSync(new URL(path, import.meta.url), 'utf8')));
const options = { name: 'run1', namespace: 'ml', image: 'registry.example/chameleon:1', workers: 16, gpusPerWorker: 1, cpu: '4', memory: '8Gi', claim: 'photos', tokenSecret: 'join', port: 50051, metricsPort: 9464, coordinatorArgs: ['--data', '/data/photos'] };
const launched = [options, { ...options, gpusPerWorker: 0 }].flatMap((given) => documentsOf(kubernetesManifests(given)));

describe.skipIf(!hasSchemas)('manifests and the schemas that are published (brought by `node tools/setup.mjs --with-reference`)', () => {
  it.each([...written, ...launched].flatMap((document) => KUBERNETES.map((version) => [document.kind, document.metadata.name, version, document])))('%s %s is one that Kubernetes %s takes', (kind, name, version, document) => {
    expect(problemsOf(document, version)).toEqual([]);
  });

  const [service, jobSet] = launched, [deployment] = written, runtime = written.find(({ kind }) => kind === 'ServingRuntime');
  const container = (set) => set.spec.replicatedJobs[1].template.spec.template.spec.containers[0];
  const typos = [
    ['a field of a service', service, (one) => (one.spec.clusterIp = 'None'), /spec: .*clusterIp/],
    ['a kind of restart', deployment, (one) => (one.spec.template.spec.restartPolicy = true), /restartPolicy/],
    ['a field of a set', jobSet, (one) => (one.spec.successPolicies = {}), /spec: .*successPolicies/],
    ['a choice of a set', jobSet, (one) => (one.spec.successPolicy.operator = 'Every'), /successPolicy\.operator/],
    ['a field deep in a set', jobSet, (one) => (container(one).ressources = {}), /containers\.0: .*ressources/],
    ['a number that is text', jobSet, (one) => (one.spec.replicatedJobs[1].template.spec.completions = '16'), /completions/],
    ['a list that is missing', jobSet, (one) => delete one.spec.replicatedJobs[1].template.spec.template.spec.containers, /containers/],
    ['a field of a runtime', runtime, (one) => (one.spec.supportedModelFormat = []), /spec: .*supportedModelFormat/],
  ];
  it.each(typos)('a typo in %s is refused', (_, document, spoil, said) => {
    const spoilt = structuredClone(document);
    spoil(spoilt);
    expect(problemsOf(spoilt, KUBERNETES[0]).join('\n')).toMatch(said);
  });
});
