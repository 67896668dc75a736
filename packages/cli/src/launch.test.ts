import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { drawDataset } from '@chameleon/data';
import { readEvents } from '@chameleon/trainer';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { BIN, chameleon, plainEnvironment, temporaryFolder } from './testing/chameleon.js';
import { freePorts, hasSlurm, hasSshd, slurm, sshServers } from './testing/servers.js';

/** The launchers with a real OpenSSH server and a real Slurm, on this machine; they need root, and what `setup --with-reference` brings. */

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const RUN = ['--epochs', '2', '--image-size', '32', '--weights', 'random', '--arch', 'resnet16w32'];
let folder: Awaited<ReturnType<typeof temporaryFolder>>, photos: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  photos = join(folder.path, 'photos');
  await drawDataset(photos, { count: 30, size: 48 });
});
afterAll(() => folder[Symbol.asyncDispose]());

/** The run left a model that classifies. */
async function expectModel(run: string): Promise<void> {
  const [label] = await readdir(photos), [picture] = await readdir(join(photos, label!));
  expect(await chameleon(folder.path, ['predict', '--model', run, join(photos, label!, picture!)])).toMatchObject({ code: 0, out: expect.stringContaining(label!) as string });
}

describe.skipIf(!hasSshd)('launch ssh, with a real OpenSSH server', { timeout: 180_000 }, () => {
  it('trains on the hosts that can be reached, and says of each other one what is wrong with it', async () => {
    const place = join(folder.path, 'ssh'), bare = join(place, 'bare');
    await mkdir(bare, { recursive: true });
    for (const program of ['sh', 'true']) await symlink(`/bin/${program}`, join(bare, program));
    await using servers = await sshServers(place);
    const { port } = await servers.start(`PATH=${process.env['PATH']!}`), { port: withoutNode } = await servers.start(`PATH=${bare}`);
    const [nobody, listen] = await freePorts(2);
    const hosts = join(place, 'hosts.yaml');
    const host = (more: object) => JSON.stringify({ host: '127.0.0.1', port, folder: ROOT, threads: 1, ...more });
    await writeFile(hosts, `ssh_config: ${servers.config}\nhosts:\n${[host({}), host({ host: 'localhost', port: withoutNode }), host({ host: '127.0.0.2', port: nobody }), host({ host: '127.0.0.3', port: 1 })].map((line) => `  - ${line}`).join('\n')}\n`);
    const run = join(place, 'run');
    const { code, err } = await chameleon(folder.path, ['launch', 'ssh', '--hosts', hosts, '--listen', `127.0.0.1:${listen}`, '--data', photos, '--run-dir', run, ...RUN], { environment: { CHAMELEON_JOIN_TOKEN: '' } });
    expect(err).toMatch(/^127\.0\.0\.1: /m);
    expect(err).toMatch(/^localhost: error: Node is not on localhost/m);
    expect(err).toMatch(/^127\.0\.0\.2: ssh: connect to host 127\.0\.0\.2 port \d+: Connection refused/m);
    expect(code).toBe(0);
    expect((await readEvents(run)).at(-1)).toMatchObject({ type: 'finish', reason: 'done' });
    await expectModel(run);
  });

  it('streams what several workers say with their names before it, and shows the token in no process list', async () => {
    const place = join(folder.path, 'ssh-2');
    await mkdir(place);
    await using servers = await sshServers(place);
    const { port } = await servers.start(`PATH=${process.env['PATH']!}`), [listen] = await freePorts(1), token = 'a-token-that-nobody-may-see';
    await writeFile(join(place, 'hosts.yaml'), `ssh_config: ${servers.config}\nhosts: [{ host: 127.0.0.1, port: ${port}, workers: 2, threads: 1, folder: "${ROOT}" }, { host: localhost, port: ${port}, folder: "${join(place, 'nothing')}" }]\n`);
    const child = spawn(process.execPath, [BIN, 'launch', 'ssh', '--hosts', join(place, 'hosts.yaml'), '--listen', `127.0.0.1:${listen}`, '--data', photos, '--run-dir', join(place, 'run'), '--min-workers', '2', ...RUN], { cwd: folder.path, env: plainEnvironment({ CHAMELEON_JOIN_TOKEN: token }), stdio: ['ignore', 'pipe', 'pipe'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const said: string[] = [], lists: string[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => void said.push(text));
    const look = setInterval(() => void promisify(execFile)('ps', ['-eww', '-o', 'args='], { maxBuffer: 1 << 24 }).then(({ stdout }) => lists.push(stdout)), 300);
    const code = await new Promise((resolve) => child.once('exit', resolve));
    clearInterval(look);
    const text = said.join('');
    expect(code, text).toBe(0);
    for (const start of [/^127\.0\.0\.1\/0: /m, /^127\.0\.0\.1\/1: /m, /^localhost: error: there is no folder/m]) expect(text).toMatch(start);
    expect(text).not.toContain(token);
    expect(lists.some((list) => list.includes('worker --attached'))).toBe(true);
    for (const list of lists) expect(list).not.toContain(token);
  });
});

describe.skipIf(!hasSlurm)('launch slurm, with a real Slurm', { timeout: 180_000 }, () => {
  it('submits a job that trains with the node’s workers and ends well', async () => {
    const place = join(folder.path, 'slurm');
    await mkdir(place, { mode: 0o755 });
    await using cluster = await slurm(place);
    const [port] = await freePorts(1), run = join(place, 'run'), log = join(place, 'job.log');
    const script = ['launch', 'slurm', '--nodes', '1', '--cpus-per-worker', '1', '--port', String(port), '--time', '5', '--chdir', ROOT, '--log', log, '--', '--data', photos, '--run-dir', run, ...RUN];
    const { code, out, err } = await chameleon(folder.path, script, { environment: { SLURM_CONF: cluster.env['SLURM_CONF'] } });
    expect(err).toContain('sbatch');
    expect(code, err).toBe(0);
    const job = out.trim();
    expect(job).toMatch(/^\d+$/);
    const state = async () => (await promisify(execFile)('scontrol', ['--oneliner', 'show', 'job', job], { env: cluster.env })).stdout;
    for (let i = 0; /JobState=(PENDING|CONFIGURING|RUNNING|COMPLETING)/.test(await state()); i++) {
      if (i > 150) throw new Error(`the job never ended: ${await readFile(log, 'utf8').catch(() => 'no log')}`);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    expect(await state(), await readFile(log, 'utf8').catch(() => 'no log')).toMatch(/JobState=COMPLETED .*ExitCode=0:0/);
    expect((await readEvents(run)).at(-1)).toMatchObject({ type: 'finish', reason: 'done' });
    await expectModel(run);
  });

  it('says what Slurm said when it refuses', async () => {
    const place = join(folder.path, 'slurm-2');
    await mkdir(place, { mode: 0o755 });
    await using cluster = await slurm(place);
    const { code, err } = await chameleon(folder.path, ['launch', 'slurm', '--nodes', '1', '--partition', 'gpus'], { environment: { SLURM_CONF: cluster.env['SLURM_CONF'] } });
    expect(code).toBe(1);
    expect(err).toMatch(/sbatch refused: .*invalid partition specified: gpus/);
  });
});
