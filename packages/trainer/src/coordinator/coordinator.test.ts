import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findRecipe } from '@chameleon/core';
import { Client, credentials, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Ended_Reason, RunServiceClient } from '../generated/chameleon/trainer/v1/trainer.js';
import { effectiveEvents } from '../events.js';
import { readEvents } from '../run-directory.js';
import { type FakeWorker, fakeWorker, finishFact, stepFact } from '../testing/fake-worker.js';
import { until } from '../testing/processes.js';
import { drawSmallDataset, smallConfig, temporaryFolder } from '../testing/small-run.js';
import { requireData } from '../worker/data-proof.js';
import { openRunClient } from './client.js';
import { requireSecurity, isSameToken } from './security.js';
import { type CoordinatorOptions, type RunPlace, type RunningCoordinator, startCoordinator } from './start.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
  await drawSmallDataset(join(folder.path, 'data'), 6);
});
afterAll(() => folder[Symbol.asyncDispose]());

let runs = 0;
async function start(given: Partial<CoordinatorOptions> = {}, place?: RunPlace): Promise<RunningCoordinator> {
  const options: CoordinatorOptions = { listen: '127.0.0.1:0', security: { token: null, tls: null }, minWorkers: 1, maxWorkers: 2, detectionMs: 600, joinWindowMs: 100, maxFailures: 3, balance: false, exchange: 'grpc', ...given };
  const running = await startCoordinator(place ?? { config: smallConfig(join(folder.path, 'data')), out: folder.path, path: join(folder.path, `run-${runs++}`) }, options, { backend: 'none' });
  onTestFinished(() => running.close());
  return running;
}

async function join_(running: RunningCoordinator, id: string, more: Omit<Parameters<typeof fakeWorker>[0], 'port' | 'id'> = {}): Promise<FakeWorker> {
  const worker = await fakeWorker({ port: running.port, id, ...more });
  onTestFinished(() => worker.leave());
  return worker;
}

/** Two workers in their first generation. */
async function two(running: RunningCoordinator): Promise<[FakeWorker, FakeWorker]> {
  const workers: [FakeWorker, FakeWorker] = [await join_(running, 'a'), await join_(running, 'b')];
  for (const [i, worker] of workers.entries()) {
    worker.ready();
    await until('it is known', () => running.coordinator.membership.members.length > i);
  }
  await until('both have a rank', () => workers.every((worker) => worker.last('generation')));
  return workers;
}

const events = (running: RunningCoordinator) => readEvents(running.path);

describe('a coordinator', () => {
  it('hands out ranks, writes each fact once whoever tells it, and finishes once', async () => {
    const running = await start();
    const [a, b] = await two(running);
    expect([a.last('generation'), b.last('generation')]).toMatchObject([{ number: 1, rank: 0, split: [4, 4], meetingHost: '127.0.0.1', meetingPort: 4000 }, { rank: 1 }]);
    for (const worker of [a, b, a]) worker.step(1, 1);
    a.step(1, 2);
    b.end(1, Ended_Reason.DONE, { step: 2, epoch: 1 });
    a.end(1, Ended_Reason.DONE, { step: 2, epoch: 1 }, finishFact(2));
    a.end(1, Ended_Reason.DONE, { step: 2, epoch: 1 }, finishFact(2));
    expect(await running.outcome).toMatchObject({ reason: 'done', step: 2 });
    await until('both are sent home', () => [a, b].every((worker) => worker.last('shutdown')));
    expect((await events(running)).map((event) => ('step' in event ? `${event.type} ${event.step}` : event.type))).toEqual(['start', 'generation 0', 'step 1', 'step 2', 'finish 2']);
    await expect(fakeWorker({ port: running.port, id: 'late' })).rejects.toThrow(/is over \(done\)/);
  });

  it('hears of steps that were done while nobody listened, from the worker whose state all take over', async () => {
    const running = await start();
    const [a, b] = await two(running);
    a.step(1, 1);
    await until('step 1', () => running.coordinator.parts.log.step === 1);
    const { runId, configSha256 } = a.connection.welcome;
    a.leave();
    b.leave();
    await until('both are lost', () => running.coordinator.membership.members.length === 0);
    const again = await join_(running, 'a', { hello: { runId, configSha256, generation: 1 } });
    again.ready();
    await until('it is told that the others are gone', () => again.last('abandon')?.generation === 1);
    again.say({ $case: 'ended', value: { generation: 1, reason: Ended_Reason.ABANDONED, detail: 'told to', position: { step: 3, epoch: 0 }, port: 4001, finishJson: '', recentFactsJson: [1, 2, 3].map(stepFact) } });
    await until('it goes on', () => again.last('generation')?.number === 2);
    expect(again.last('generation')).toMatchObject({ rank: 0, start: { step: 3, epoch: 0 } });
    again.step(2, 4);
    await until('step 4', () => running.coordinator.parts.log.step === 4);
    expect(effectiveEvents(await events(running)).flatMap((event) => (event.type === 'step' ? [event.step] : []))).toEqual([1, 2, 3, 4]);
    expect((await events(running)).filter((event) => event.type === 'fault' && event.message.includes('nobody could tell'))).toEqual([]);
  });

  it('takes a lost worker’s facts from the one that is left, and forgets a generation that is over', async () => {
    const running = await start();
    const [a, b] = await two(running);
    a.step(1, 1);
    await until('step 1', () => running.coordinator.parts.log.step === 1);
    a.leave();
    await until('b is told', () => b.last('abandon')?.generation === 1);
    b.say({ $case: 'ended', value: { generation: 1, reason: Ended_Reason.ABANDONED, detail: 'told to', position: { step: 2, epoch: 0 }, port: 4001, finishJson: '', recentFactsJson: [stepFact(1), stepFact(2)] } });
    await until('b goes on', () => b.last('generation')?.number === 2);
    expect(b.last('generation')).toMatchObject({ rank: 0, start: { step: 2, epoch: 0 }, meetingPort: 4001, split: [8] });
    b.step(1, 9);
    b.step(2, 3);
    await until('step 3', () => running.coordinator.parts.log.step === 3);
    expect((await events(running)).flatMap((event) => (event.type === 'step' ? [event.step] : []))).toEqual([1, 2, 3]);
  });

  it('goes on from a step that only a lost worker had applied, and takes its word back', async () => {
    const running = await start();
    const [a, b] = await two(running);
    a.step(1, 1);
    a.step(1, 2);
    await until('step 2', () => running.coordinator.parts.log.step === 2);
    a.leave();
    await until('b is told', () => b.last('abandon') !== undefined);
    b.end(1, Ended_Reason.ABANDONED, { step: 1, epoch: 0 });
    await until('b goes on', () => b.last('generation')?.number === 2);
    b.say({ $case: 'facts', value: { generation: 2, json: [stepFact(2).replace('"loss":1', '"loss":7')] } });
    await until('step 2 again', () => running.coordinator.parts.log.step === 2);
    await running.coordinator.parts.log.flush();
    expect((await events(running)).flatMap((event) => (event.type === 'step' ? [[event.step, event.loss]] : []))).toEqual([[1, 1], [2, 7]]);
  });

  it('remembers after a crash which generation it was at, and lets its members go on', async () => {
    const running = await start({ detectionMs: 2_000 });
    const [a] = await two(running);
    a.step(1, 1);
    await until('step 1', () => running.coordinator.parts.log.step === 1);
    await running.coordinator.parts.log.flush();
    await running.close();
    const next = await start({ detectionMs: 2_000 }, { resume: running.path });
    const back = { runId: next.id, configSha256: next.coordinator.parts.welcome.configSha256, generation: 1 };
    const returned = await Promise.all(['a', 'b'].map((id) => join_(next, id, { hello: back })));
    for (const worker of returned) worker.ready({ inMemory: true });
    returned[0]!.say({ $case: 'facts', value: { generation: 1, json: [stepFact(1), stepFact(2)] } });
    await until('step 2', () => next.coordinator.parts.log.step === 2);
    expect(next.coordinator.membership).toMatchObject({ number: 1, ending: null, generation: { members: ['a', 'b'] } });
    expect(returned.flatMap(({ heard }) => heard.map(({ $case }) => $case)).filter((kind) => kind === 'abandon' || kind === 'generation')).toEqual([]);
    const stranger = await join_(next, 'old', { hello: { ...back, workerId: 'old' } });
    stranger.ready();
    await until('who is of no generation is told to give its own up', () => stranger.last('abandon')?.generation === 1);
  });

  it('stops between two steps, and says what it stopped for', async () => {
    const running = await start();
    const [a, b] = await two(running);
    using client = await openRunClient(`127.0.0.1:${running.port}`, { token: null, tls: null });
    expect(await client.stop('')).toMatchObject({ state: 'stopping' });
    await client.stop(running.id);
    await until('both know', () => [a, b].every((worker) => worker.last('pause')?.stop));
    b.end(1, Ended_Reason.PAUSED, { step: 1, epoch: 0 });
    a.end(1, Ended_Reason.PAUSED, { step: 1, epoch: 0 }, finishFact(1).replace('done', 'interrupted'));
    expect(await running.outcome).toMatchObject({ reason: 'interrupted' });
  });

  it('ends a run that would fail anywhere, with the worker’s words', async () => {
    const running = await start();
    const [a, b] = await two(running);
    b.say({ $case: 'ended', value: { generation: 1, reason: Ended_Reason.FAILED, detail: 'The loss is no longer a number', position: { step: 1, epoch: 0 }, port: 0, finishJson: '', recentFactsJson: [] } });
    await expect(running.outcome).rejects.toThrow('The loss is no longer a number');
    await until('all know', () => [a, b].every((worker) => worker.last('shutdown')?.failed));
  });

  it('shows itself to people: list, get, watch, and asks rank 0 alone for a checkpoint', async () => {
    const running = await start();
    const [a, b] = await two(running);
    using client = await openRunClient(`127.0.0.1:${running.port}`, { token: null, tls: null });
    expect(await client.list()).toMatchObject([{ runId: running.id, state: 'training', generation: 1, workers: [{ workerId: 'a', rank: 0, state: 'training' }, { rank: 1 }] }]);
    await expect(client.get('another')).rejects.toThrow(/holds the run run-\d+, not another/);
    await client.checkpoint('');
    await until('rank 0 is asked', () => a.last('checkpoint')?.generation === 1);
    expect(b.last('checkpoint')).toBeUndefined();
    const stop = new AbortController(), seen: string[] = [];
    const watching = (async () => {
      for await (const update of client.watch('', stop.signal)) seen.push(update.$case === 'run' ? update.value.state : (JSON.parse(update.value) as { type: string }).type);
    })();
    await until('its state', () => seen.includes('training'));
    a.step(1, 1);
    await until('a fact', () => seen.includes('step'));
    stop.abort();
    await watching;
  });

  it('tells all ranks what is changed of the live run, once, and names the step that they took it at when steps are done again', async () => {
    const running = await start({}, { config: smallConfig(join(folder.path, 'data'), { recipe: findRecipe('feature-extractor') }), out: folder.path, path: join(folder.path, `run-${runs++}`) });
    const [a, b] = await two(running);
    const changed = (id: number, step: number) => JSON.stringify({ type: 'change', id, step, epoch: 0, change: { kind: 'unfreeze' } });
    using client = await openRunClient(`127.0.0.1:${running.port}`, { token: null, tls: null });
    expect((await client.get('')).settings).toEqual({ groups: [{ name: 'body', learningRate: undefined }, { name: 'head', learningRate: undefined }], unfrozen: false, waiting: 0 });
    expect((await client.unfreeze('')).settings).toMatchObject({ unfrozen: true, waiting: 1 });
    running.coordinator.change('again', { kind: 'set-rate', group: 'head', learningRate: 0.5 });
    running.coordinator.change('again', { kind: 'set-rate', group: 'head', learningRate: 0.5 });
    await until('both know', () => [a, b].every((worker) => worker.last('changes')?.changes.length === 2));
    expect(b.last('changes')!.changes).toEqual([{ step: undefined, kind: { $case: 'unfreeze', value: {} } }, { step: undefined, kind: { $case: 'setRate', value: { group: 'head', learningRate: 0.5 } } }]);
    for (const worker of [b, a, a]) worker.say({ $case: 'facts', value: { generation: 1, json: [stepFact(1), stepFact(2), changed(1, 2)] } });
    await until('it is taken', () => running.coordinator.parts.log.changeCount === 1);
    expect((await client.get('')).settings).toMatchObject({ waiting: 1, groups: [{ name: 'body' }, { name: 'head', learningRate: 0.001 }] });
    b.leave();
    await until('a is told', () => a.last('abandon') !== undefined);
    a.end(1, Ended_Reason.ABANDONED, { step: 1, epoch: 0 });
    await until('a goes on', () => a.last('generation')?.number === 2);
    expect(a.last('generation')!.changes.map(({ step }) => step)).toEqual([2, undefined]);
    a.say({ $case: 'facts', value: { generation: 2, json: [stepFact(2), changed(1, 2)] } });
    await until('it is taken again', () => running.coordinator.parts.log.changeCount === 1 && running.coordinator.parts.log.step === 2);
    await running.coordinator.parts.log.flush();
    const all = await events(running);
    expect(all.flatMap((event) => (event.type === 'command' ? [[event.command, event.detail]] : []))).toEqual([['unfreeze', {}], ['set-rate', { group: 'head', learningRate: 0.5 }]]);
    expect(effectiveEvents(all).flatMap((event) => (event.type === 'change' ? [[event.id, event.step]] : []))).toEqual([[1, 2]]);
  });

  it('knows after a crash what was changed, and tells it to the ranks that come back and to those that join', async () => {
    const running = await start({ detectionMs: 2_000 });
    const [a] = await two(running);
    running.coordinator.change('rate', { kind: 'set-rate', group: 'head', learningRate: 0.5 });
    a.say({ $case: 'facts', value: { generation: 1, json: [stepFact(1), JSON.stringify({ type: 'change', id: 1, step: 1, epoch: 0, change: { kind: 'set-rate', group: 'head', learningRate: 0.5 } })] } });
    await until('it is taken', () => running.coordinator.parts.log.changeCount === 1);
    running.coordinator.change('unfreeze', { kind: 'unfreeze' });
    await running.coordinator.parts.log.flush();
    await running.close();
    const next = await start({ detectionMs: 2_000, joinWindowMs: 0, maxWorkers: 3 }, { resume: running.path });
    const back = { runId: next.id, configSha256: next.coordinator.parts.welcome.configSha256, generation: 1 };
    const returned = await join_(next, 'a', { hello: back });
    returned.ready({ inMemory: true });
    await until('it knows', () => returned.last('changes') !== undefined);
    expect(returned.last('changes')!.changes).toMatchObject([{ step: 1, kind: { $case: 'setRate' } }, { step: undefined, kind: { $case: 'unfreeze' } }]);
    next.coordinator.change('rate', { kind: 'set-rate', group: 'head', learningRate: 0.5 });
    expect(next.coordinator.changes.asked).toHaveLength(2);
    expect(next.coordinator.changes.recorded.map(({ requestId, step }) => [requestId, step])).toEqual([['rate', 1], ['unfreeze', null]]);
    const joiner = await join_(next, 'c');
    joiner.ready();
    await until('the others pause', () => returned.last('pause') !== undefined || returned.last('abandon') !== undefined);
    returned.end(1, Ended_Reason.PAUSED, { step: 1, epoch: 0 });
    await until('the joiner is in', () => joiner.last('generation') !== undefined);
    expect(joiner.last('generation')!.changes.map(({ step }) => step)).toEqual([1, undefined]);
  });

  it('refuses what can not be changed, and says what can', async () => {
    const running = await start();
    const [a, b] = await two(running);
    using client = await openRunClient(`127.0.0.1:${running.port}`, { token: null, tls: null });
    await expect(client.setRate('', 'haed', 0.1)).rejects.toThrow(/no group called "haed"\. Did you mean head\? Its groups are body, head/);
    for (const rate of [0, -0.1, Number.NaN, Number.POSITIVE_INFINITY]) await expect(client.setRate('', 'head', rate)).rejects.toThrow(/can't be a learning rate: it has to be a number above 0/);
    await client.unfreeze('');
    await expect(client.unfreeze('')).rejects.toThrow(/Everything learns already/);
    await expect(client.unfreeze('another')).rejects.toThrow(/not another/);
    expect(running.coordinator.changes.asked).toHaveLength(1);
    await client.stop('');
    await expect(client.setRate('', 'head', 0.1)).rejects.toThrow(/being stopped: nothing of it can be changed/);
    a.end(1, Ended_Reason.PAUSED, { step: 1, epoch: 0 }, finishFact(1).replace('done', 'interrupted'));
    b.end(1, Ended_Reason.PAUSED, { step: 1, epoch: 0 });
    await running.outcome;
    await expect(client.setRate('', 'head', 0.1)).rejects.toThrow(/is over \(interrupted\): nothing of it can be changed/);
  });

  it('answers health checks and reflection as other tools ask for them', async () => {
    const running = await start({ security: { token: 'secret', tls: null } });
    const client = new Client(`127.0.0.1:${running.port}`, credentials.createInsecure());
    onTestFinished(() => client.close());
    const health = await new Promise<Buffer>((resolve, reject) => client.makeUnaryRequest('/grpc.health.v1.Health/Check', (value: Buffer) => value, (value) => value, Buffer.alloc(0), (error, value) => (error ? reject(error) : resolve(value!))));
    // HealthCheckResponse { status: SERVING }
    expect([...health]).toEqual([8, 1]);
    const names = await new Promise<string>((resolve, reject) => {
      const stream = client.makeBidiStreamRequest('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', (value: Buffer) => value, (value) => value.toString('latin1'));
      stream.on('data', resolve).on('error', reject);
      // ServerReflectionRequest { list_services: "" }
      stream.write(Buffer.of(0x3a, 0));
    });
    expect(names).toContain('chameleon.trainer.v1.RunService');
  });
});

describe('a coordinator and callers that it does not want', () => {
  it('refuses a wrong token, another version or protocol, another run, a second of a name, and goes on with the others', async () => {
    const running = await start({ security: { token: 'right', tls: null } });
    const a = await join_(running, 'a', { token: 'right' });
    const refused = (more: Partial<Parameters<typeof fakeWorker>[0]>) => fakeWorker({ port: running.port, id: 'b', token: 'right', ...more });
    await expect(refused({ token: 'wrong' })).rejects.toThrow(/join token is missing or wrong.*CHAMELEON_JOIN_TOKEN/);
    await expect(refused({ token: null })).rejects.toThrow(/join token is missing or wrong/);
    for (const nearly of ['righ', 'rightly']) await expect(refused({ token: nearly })).rejects.toThrow(/join token is missing or wrong/);
    await expect(refused({ hello: { version: '0.0.9' } })).rejects.toThrow(/worker is Chameleon 0\.0\.9, the coordinator \d/);
    await expect(refused({ hello: { codeSha256: 'abcdef0123456789' } })).rejects.toThrow(/another build of Chameleon \d\S* \(abcdef012345\) than the coordinator \([0-9a-f]{12}\)\. Install the same one/);
    await expect(refused({ hello: { codeSha256: '' } })).rejects.toThrow(/another build .*\(unknown\)/);
    await expect(refused({ hello: { protocol: 99 } })).rejects.toThrow(/speaks protocol 99, the coordinator \d+/);
    await expect(refused({ hello: { runId: 'elsewhere' } })).rejects.toThrow(/belongs to the run elsewhere/);
    await expect(refused({ hello: { runId: running.id, configSha256: 'f00' } })).rejects.toThrow(/configuration .* is another/);
    await expect(refused({ id: 'a' })).rejects.toThrow(/called a is in this run already.*--id/);
    await expect(refused({ id: 'no spaces' })).rejects.toThrow(/can't be a worker's name/);
    a.ready();
    await until('the run goes on', () => a.last('generation') !== undefined);
  });

  it('leaves a node out that is lost again and again', async () => {
    const running = await start({ maxFailures: 2 });
    for (const id of ['x1', 'x2']) {
      const worker = await fakeWorker({ port: running.port, id, hello: { node: 'shaky' } });
      worker.ready();
      await until('it is in', () => worker.last('generation') !== undefined);
      worker.leave();
      await until('it is out', () => running.coordinator.membership.members.length === 0);
    }
    await expect(fakeWorker({ port: running.port, id: 'x3', hello: { node: 'shaky' } })).rejects.toThrow(/node shaky was lost 2 times/);
    expect((await join_(running, 'y')).ended()).toBeNull();
  });

  it('survives rubbish, messages of 100 MB and of nothing, and facts that are none', async () => {
    const running = await start();
    const good = await join_(running, 'good');
    const client = new Client(`127.0.0.1:${running.port}`, credentials.createInsecure());
    onTestFinished(() => client.close());
    const codeOf = (bytes: Buffer) => new Promise<status>((resolve) => {
      const stream = client.makeBidiStreamRequest('/chameleon.trainer.v1.WorkerService/Work', (value: Buffer) => value, (value) => value);
      stream.on('error', ({ code }: { code?: status }) => resolve(code!)).on('data', () => undefined);
      stream.write(bytes);
    });
    expect(await codeOf(Buffer.from('this is no protobuf'))).not.toBe(status.OK);
    expect(await codeOf(Buffer.alloc(0))).toBe(status.INVALID_ARGUMENT);
    expect(await codeOf(Buffer.alloc(100 * 2 ** 20))).toBe(status.RESOURCE_EXHAUSTED);
    const liar = await join_(running, 'liar');
    good.ready();
    liar.ready();
    await until('both train', () => [good, liar].every((worker) => worker.last('generation')));
    liar.say({ $case: 'facts', value: { generation: 1, json: ['{"type":"step","step":"many"}'] } });
    await until('it is sent away', () => liar.ended() !== null);
    expect(liar.ended()).toMatch(/can't be understood/);
    await until('the other is told', () => good.last('abandon') !== undefined);
  });

  it('tells which files a worker has otherwise', async () => {
    const running = await start();
    const other = join(folder.path, 'other');
    await drawSmallDataset(other, 6);
    await writeFile(join(other, 'plain', '002.png'), await readFile(join(other, 'plain', '003.png')));
    const manifest = JSON.parse(await readFile(join(running.path, 'manifest.json'), 'utf8')) as Parameters<typeof requireData>[1];
    await expect(requireData(other, manifest, new AbortController().signal)).rejects.toThrow(/1 of 12 files are others, among them plain\/002\.png.*--data/);
    await expect(requireData(join(folder.path, 'nowhere'), manifest, new AbortController().signal)).rejects.toThrow(/12 of 12 files are missing/);
  });

  it('refuses a port in use, and to listen for others without a proof of who they are', async () => {
    const running = await start();
    await expect(start({ listen: `127.0.0.1:${running.port}` })).rejects.toThrow(/can't listen on .*--listen/);
    expect(() => requireSecurity('0.0.0.0', { token: null, tls: null })).toThrow(/join token.*--insecure/);
    expect(() => requireSecurity('0.0.0.0', { token: 't', tls: null })).not.toThrow();
    expect(() => requireSecurity('127.8.0.1', { token: null, tls: null })).not.toThrow();
    expect([isSameToken('a', 'a'), isSameToken('a', 'ab'), isSameToken('', 'a')]).toEqual([true, false, false]);
  });

  it('says that nobody answers', async () => {
    await expect(fakeWorker({ port: 1, id: 'a', patienceMs: 300 })).rejects.toThrow(/Nobody answers at 127\.0\.0\.1:1/);
    using client = await openRunClient('127.0.0.1:1', { token: null, tls: null });
    await expect(client.list()).rejects.toThrow(/No coordinator answers/);
    expect(RunServiceClient.serviceName).toBe('chameleon.trainer.v1.RunService');
  });
});
