import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const textOf = (path) => readFileSync(path.startsWith('/') ? path : here(path), 'utf8');
const documentsOf = (path) => parseAllDocuments(textOf(path), { uniqueKeys: true }).map((document) => {
  expect(document.errors).toEqual([]);
  return document.toJS();
});

const kubernetes = documentsOf('kubernetes/chameleon.yaml');
const [runtime] = documentsOf('kserve/runtime.yaml'), [service] = documentsOf('kserve/inference-service.yaml');
const kindOf = (kind) => kubernetes.find((document) => document.kind === kind);
const deployment = kindOf('Deployment'), [pod] = [deployment.spec.template.spec], [container] = pod.containers;
const dockerfile = textOf('Dockerfile');
const environmentOf = ({ env }) => Object.fromEntries(env.map(({ name, value }) => [name, value]));

/** What the server understands, from its own help. */
const help = execFileSync(process.execPath, [here('../../packages/cli/bin/chameleon.js'), 'serve', '--help'], { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
const serverSources = ['http/app.ts', 'http/routes.ts', 'http/listener.ts', 'protocol/routes.ts', 'metrics.ts'].map((path) => textOf(`../../packages/inference-server/src/${path}`)).join('\n');

describe('the manifests and the image fit the server', () => {
  it('name flags and environment variables that it has', () => {
    const inDockerfile = [...dockerfile.matchAll(/\b(CHAMELEON_[A-Z_]+)=/g)].map(([, name]) => name);
    const used = [...inDockerfile, ...Object.keys(environmentOf(container)), ...Object.keys(environmentOf(runtime.spec.containers[0]))];
    expect(used.length).toBeGreaterThan(6);
    const known = help.replaceAll(/\s+/g, ' ');
    for (const name of used) expect(known, name).toContain(`env: ${name})`);
    for (const flag of runtime.spec.containers[0].args.filter((argument) => argument.startsWith('--'))) expect(help, flag).toContain(flag);
  });

  it('ask for addresses and a metric that it has', () => {
    const probes = [container, runtime.spec.containers[0]].flatMap(({ startupProbe, readinessProbe, livenessProbe }) => [startupProbe, readinessProbe, livenessProbe].filter(Boolean));
    for (const { httpGet } of probes) expect(serverSources, httpGet.path).toContain(`'${httpGet.path}'`);
    expect(dockerfile).toContain('http://127.0.0.1:8080/livez');
    expect(serverSources).toContain(`'${kindOf('HorizontalPodAutoscaler').spec.metrics[0].pods.metric.name}'`);
    expect(deployment.spec.template.metadata.annotations['prometheus.io/path']).toBe('/metrics');
  });

  it('leave it the time to stop', () => {
    const { CHAMELEON_NOTICE_MS: notice, CHAMELEON_DEADLINE_MS: deadline } = environmentOf(container);
    expect(1000 * pod.terminationGracePeriodSeconds).toBeGreaterThan(Number(notice) + Number(deadline));
    expect(Number(notice)).toBeGreaterThan(1000 * container.readinessProbe.periodSeconds * container.readinessProbe.failureThreshold);
  });

  it('run it without rights that it does not need', () => {
    for (const { securityContext } of [container, runtime.spec.containers[0]]) expect(securityContext).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(dockerfile).toMatch(/^USER node$/m);
    expect(dockerfile).toMatch(/^HEALTHCHECK /m);
    expect(dockerfile).toMatch(/^STOPSIGNAL SIGTERM$/m);
  });

  it('belong together', () => {
    const labels = deployment.spec.template.metadata.labels;
    for (const selector of [deployment.spec.selector.matchLabels, kindOf('Service').spec.selector, kindOf('PodDisruptionBudget').spec.selector.matchLabels]) expect(labels).toMatchObject(selector);
    expect(kindOf('HorizontalPodAutoscaler').spec.scaleTargetRef.name).toBe(deployment.metadata.name);
    expect(pod.volumes.map(({ name }) => name).sort()).toEqual(container.volumeMounts.map(({ name }) => name).sort());
    expect(service.spec.predictor.model.runtime).toBe(runtime.metadata.name);
    expect(runtime.spec.supportedModelFormats.map(({ name }) => name)).toContain(service.spec.predictor.model.modelFormat.name);
    const images = [container.image, runtime.spec.containers[0].image];
    for (const image of images) expect(image).toBe(`chameleon:${JSON.parse(textOf('../../package.json')).version}`);
  });
});
