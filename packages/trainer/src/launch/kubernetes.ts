import { stringify } from 'yaml';

export interface KubernetesOptions {
  name: string;
  namespace: string;
  image: string;
  workers: number;
  /** 0: workers compute on processors. */
  gpusPerWorker: number;
  /** As Kubernetes writes it: 4, 500m. */
  cpu: string;
  memory: string;
  /** A claim that all can write, mounted at /data: pictures and run directories. */
  claim: string;
  /** A secret whose key \`token\` is the join token. */
  tokenSecret: string;
  port: number;
  metricsPort: number;
  /** Of `chameleon coordinator`, without where it listens. */
  coordinatorArgs: readonly string[];
}

/**
 * A headless service (Kubernetes 1.30 and later) and a JobSet (jobset.x-k8s.io/v1alpha2, as of JobSet 0.10): one coordinator, and workers that Kubernetes starts again where they fail. The
 * set ends with its coordinator.
 */
export function kubernetesManifests(options: KubernetesOptions): string {
  return [service(options), jobSet(options)].map((manifest) => stringify(manifest)).join('---\n');
}

const labelOf = (name: string) => ({ 'app.kubernetes.io/name': 'chameleon', 'app.kubernetes.io/instance': name });

function service({ name, namespace, port }: KubernetesOptions): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels: labelOf(name) },
    spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector: { 'jobset.sigs.k8s.io/jobset-name': name }, ports: [{ name: 'grpc', port }] },
  };
}

function jobSet(options: KubernetesOptions): object {
  const { name, namespace, workers, coordinatorArgs, port, metricsPort } = options;
  const coordinator = ['coordinator', '--listen', `0.0.0.0:${port}`, '--max-workers', String(workers), '--metrics-port', String(metricsPort), '--metrics-host', '0.0.0.0', ...coordinatorArgs];
  const worker = ['worker', '--patience', '300', '--metrics-port', String(metricsPort), '--metrics-host', '0.0.0.0'];
  return {
    apiVersion: 'jobset.x-k8s.io/v1alpha2',
    kind: 'JobSet',
    metadata: { name, namespace, labels: labelOf(name) },
    spec: {
      network: { enableDNSHostnames: true, subdomain: name },
      successPolicy: { operator: 'All', targetReplicatedJobs: ['coordinator'] },
      failurePolicy: { maxRestarts: 3 },
      replicatedJobs: [job('coordinator', 1, coordinator, { cpu: '1', memory: '1Gi' }, options, { tcpSocket: { port }, periodSeconds: 10 }), job('worker', workers, worker, resourcesOf(options), options, null)],
    },
  };
}

const resourcesOf = ({ cpu, memory, gpusPerWorker }: KubernetesOptions): Record<string, string> => ({ cpu, memory, ...(gpusPerWorker > 0 ? { 'nvidia.com/gpu': String(gpusPerWorker) } : {}) });

function job(name: string, count: number, args: string[], limits: Record<string, string>, { name: set, image, claim, tokenSecret, port, metricsPort }: KubernetesOptions, probe: object | null): object {
  const container = {
    name, image, args,
    env: [
      { name: 'CHAMELEON_JOIN_TOKEN', valueFrom: { secretKeyRef: { name: tokenSecret, key: 'token' } } },
      { name: 'CHAMELEON_COORDINATOR', value: `${set}-coordinator-0-0.${set}:${port}` },
    ],
    ports: [...(name === 'coordinator' ? [{ name: 'grpc', containerPort: port }] : []), { name: 'metrics', containerPort: metricsPort }],
    resources: { requests: limits, limits },
    volumeMounts: [{ name: 'data', mountPath: '/data' }],
    ...(probe ? { readinessProbe: probe, livenessProbe: { ...probe, initialDelaySeconds: 120, failureThreshold: 6 } } : {}),
  };
  const template = {
    metadata: { annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': String(metricsPort), 'prometheus.io/path': '/metrics' } },
    spec: { restartPolicy: 'OnFailure', terminationGracePeriodSeconds: 60, containers: [container], volumes: [{ name: 'data', persistentVolumeClaim: { claimName: claim } }] },
  };
  return { name, replicas: 1, template: { spec: { parallelism: count, completions: count, backoffLimit: 10 * count, template } } };
}
