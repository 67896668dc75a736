import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve } from 'node:path';
import { UserError, messageOf, nearest } from '@chameleon/core';
import type { Logger } from 'pino';
import type { BatcherOptions } from '../batcher.js';
import type { ComputeSetup } from '../compute/messages.js';
import type { ServerMetrics } from '../metrics.js';
import { Problem } from '../problems.js';
import { findModelFolder, readModelCard } from './model-folder.js';
import { ServedVersion } from './served-version.js';
import { type Canary, type CanaryBounds, type Labels, type Tally, chooseVersion, emptyTally, judgeCanary } from './traffic.js';

/** A model that the server is started with. */
export interface ModelSource {
  /** A run's directory or its model folder. */
  path: string;
  /** By default the card's. */
  name?: string;
  /** By default 1, 2, … in the order given. */
  version?: string;
}

export interface RepositoryOptions {
  compute: Pick<ComputeSetup, 'engine' | 'precision' | 'threads'> & { computeTimeoutMs: number };
  batcher: BatcherOptions;
  canaryBounds: CanaryBounds;
  /** The folder that versions may be added from while the server runs; null: none. */
  modelsRoot: string | null;
  metrics: ServerMetrics;
  log: Logger;
  /** Uniform in [0, 1). */
  random: () => number;
  /** Called when a canary was taken back by what was seen here. */
  onRollback: (rollback: Rollback) => void;
}

/** A canary that was taken back, and why. */
export interface Rollback {
  model: string;
  version: string;
  reason: string;
}

/** A model as another process can load it: its versions, the stable one first, and its canary. */
export interface ModelState {
  name: string;
  versions: { version: string; folder: string }[];
  canary: Canary | null;
}

/** What a version is at the moment; a failed one says why. */
type VersionState = { status: 'loading' } | { status: 'loaded'; served: ServedVersion } | { status: 'failed'; reason: string };

interface Model {
  versions: Map<string, VersionState>;
  labels: Labels;
  /** Of the stable version and the canary, since the canary began. */
  tallies: { stable: Tally; canary: Tally };
  /** The last rollback by the server itself. */
  rollback: { version: string; reason: string; at: string } | null;
}

export interface VersionListing {
  version: string;
  status: 'loading' | 'ready' | 'restarting' | 'failed' | 'stopped';
  labels: ('stable' | 'canary')[];
  reason: string | null;
  /** What computes it. */
  backend: string | null;
  architecture: string | null;
  classes: string[] | null;
  image_size: number | null;
  precision: string | null;
  valid_accuracy: number | null;
  run_id: string | null;
}

export interface ModelListing {
  name: string;
  versions: VersionListing[];
  labels: { stable: string | null; canary: { version: string; traffic_share: number; shadow: boolean } | null };
  rollback: { version: string; reason: string; at: string } | null;
}

const NAME = /^[A-Za-z0-9][\w.-]{0,99}$/;

/** The models that are served, their versions and labels. A version is loaded and warmed beside the others, then swapped in at once. */
export class ModelRepository {
  readonly #models = new Map<string, Model>();
  readonly #closing = new AbortController();

  constructor(private readonly options: RepositoryOptions) {}

  /** Loads a version; the first of a model becomes its stable one. @throws UserError */
  async add({ path, name: givenName, version: givenVersion }: ModelSource): Promise<{ name: string; version: string }> {
    const folder = await findModelFolder(path);
    const name = givenName ?? (await readModelCard(folder)).name;
    if (!NAME.test(name)) throw new UserError(`${name} can't stand in an address as a model's name. Give another one: letters, digits, '.', '_' and '-'.`);
    const model = this.#models.get(name) ?? { versions: new Map<string, VersionState>(), labels: { stable: null, canary: null }, tallies: { stable: emptyTally(), canary: emptyTally() }, rollback: null };
    this.#models.set(name, model);
    const version = givenVersion ?? nextVersion(model.versions.keys());
    if (!NAME.test(version) || version === 'stable' || version === 'canary') throw new UserError(`${version} can't be a version's name: letters, digits, '.', '_' and '-', and not stable or canary.`);
    const known = model.versions.get(version);
    if (known && known.status !== 'failed') throw new UserError(`${name} has a version ${version} already. Give another name, or unload it first.`);
    await this.#load(model, { name, version, folder });
    return { name, version };
  }

  /** As `add`, for a path that came over the network: it has to lie below the folder of models. */
  async addFromRoot(name: string, path: string, version?: string): Promise<{ name: string; version: string }> {
    this.#model(name);
    const folder = await this.#insideRoot(path);
    try {
      return await this.add({ path: folder, name, ...(version === undefined ? {} : { version }) });
    } catch (error) {
      if (error instanceof UserError) throw new Problem('load-failed', error.message, { cause: error });
      throw error;
    }
  }

  /** The version that answers a request. @throws {Problem} 404 or 503 */
  resolve(name?: string, version?: string): ServedVersion {
    const modelName = name ?? this.#onlyName();
    const model = this.#model(modelName);
    const chosen = chooseVersion(model.labels, version, this.options.random());
    const state = chosen === null ? undefined : model.versions.get(chosen);
    if (!state) {
      if (version === undefined) throw new Problem('loading', `${modelName} has no stable version yet.`, { retryAfterSeconds: 1 });
      throw new Problem('unknown-model', `${modelName} has no version ${version}. There are ${[...model.versions.keys()].join(', ') || 'none'}.`);
    }
    if (state.status === 'loading') throw new Problem('loading', `${modelName}, version ${chosen}, is being loaded.`, { retryAfterSeconds: 1 });
    if (state.status === 'failed') throw new Problem('compute-failed', `${modelName}, version ${chosen}, could not be loaded.`);
    return state.served;
  }

  /**
   * Refuses a request before its body is read, where no version that may answer it has a place in its queue: what is refused should cost
   * those that are answered as little as can be. Says nothing of versions that are not there.
   * @throws {Problem} 429
   */
  ensureRoom(name: string | undefined, version: string | undefined, key: string): void {
    const model = this.#models.get(name ?? this.#onlyName());
    if (!model) return;
    const states = new Set([0, 1].map((draw) => model.versions.get(chooseVersion(model.labels, version, draw) ?? '')));
    const refusals = [...states].flatMap((state) => (state?.status === 'loaded' ? [state.served.queue.refusal(key)] : []));
    const [refusal] = refusals;
    if (refusal && !refusals.includes(null)) throw refusal;
  }

  /** The canary that computes this request's pictures unseen, if there is one. */
  shadowOf(served: ServedVersion): ServedVersion | null {
    const { labels, versions } = this.#model(served.name);
    if (labels.stable !== served.version || !labels.canary?.shadow || this.options.random() >= labels.canary.trafficShare) return null;
    const state = versions.get(labels.canary.version);
    return state?.status === 'loaded' && state.served.status === 'ready' ? state.served : null;
  }

  /** Points `stable` to another version that is ready: the next request is answered by it. */
  setStable(name: string, version: string): void {
    const model = this.#model(name);
    this.#requireReady(name, model, version);
    const { canary } = model.labels;
    model.labels = { stable: version, canary: canary?.version === version ? null : canary };
    this.#changed(name, model, { version }, 'stable now stands at another version');
  }

  /** Gives a ready version a part of the requests, or (null) ends that. */
  setCanary(name: string, canary: Canary | null): void {
    const model = this.#model(name);
    if (canary) {
      this.#requireReady(name, model, canary.version);
      if (canary.version === model.labels.stable) throw new Problem('conflict', `Version ${canary.version} is the stable one: it can't be its own canary.`);
      if (canary.shadow) this.#requireSamePictures(model, canary.version);
    }
    model.labels = { ...model.labels, canary };
    this.#changed(name, model, { ...canary }, canary ? 'a canary begins' : 'the canary ends');
  }

  /** Ends a version that no label stands at, once what it has begun is answered, and gives its memory back. */
  async remove(name: string, version: string): Promise<void> {
    const model = this.#model(name);
    const state = model.versions.get(version);
    if (!state) throw new Problem('unknown-model', `${name} has no version ${version}.`);
    if (state.status === 'loading') throw new Problem('conflict', `Version ${version} is being loaded.`);
    if (model.labels.stable === version || model.labels.canary?.version === version) throw new Problem('conflict', `A label stands at version ${version}. Move it first.`);
    model.versions.delete(version);
    this.#publish();
    if (state.status !== 'loaded') return;
    await state.served.drain(this.#closing.signal);
    await state.served.stop(new Problem('unknown-model', `${name} has no version ${version} any more.`));
  }

  /** Tells what became of a request: a canary that departs from the stable version is taken back. */
  observe(served: ServedVersion, outcome: 'answered' | 'failed', classes: readonly string[]): void {
    const model = this.#models.get(served.name);
    const canary = model?.labels.canary;
    if (!model || !canary) return;
    const tally = served.version === canary.version ? model.tallies.canary : served.version === model.labels.stable ? model.tallies.stable : null;
    if (!tally) return;
    tally.requests++;
    if (outcome === 'failed') tally.errors++;
    for (const label of classes) tally.classes.set(label, (tally.classes.get(label) ?? 0) + 1);
    const reason = judgeCanary(model.tallies.stable, model.tallies.canary, this.options.canaryBounds);
    if (reason === null) return;
    const rollback = { model: served.name, version: canary.version, reason };
    this.options.metrics.rolledBack(served.name);
    this.rollBack(rollback);
    this.options.onRollback(rollback);
  }

  /** Takes a canary back, and remembers why; what is none any more stays as it is. */
  rollBack({ model: name, version, reason }: Rollback): void {
    const model = this.#models.get(name);
    if (model?.labels.canary?.version !== version) return;
    model.rollback = { version, reason, at: new Date().toISOString() };
    model.labels = { ...model.labels, canary: null };
    this.#changed(name, model, { version, reason }, 'the canary was taken back');
  }

  /** What is loaded, for another process to load the same. */
  state(): ModelState[] {
    return [...this.#models].map(([name, { versions, labels }]) => {
      const loaded = [...versions].flatMap(([version, state]) => (state.status === 'loaded' ? [{ version, folder: state.served.folder }] : []));
      return { name, versions: [...loaded.filter(({ version }) => version === labels.stable), ...loaded.filter(({ version }) => version !== labels.stable)], canary: labels.canary };
    });
  }

  /** Why the server is not ready, or null. */
  notReady(): string | null {
    if (this.#models.size === 0) return 'no model is loaded yet';
    for (const [name, { labels, versions }] of this.#models) {
      const state = labels.stable === null ? undefined : versions.get(labels.stable);
      if (state?.status !== 'loaded') return `${name} is being loaded`;
      if (state.served.status !== 'ready') return `${name} is ${state.served.status}`;
    }
    return null;
  }

  list(): ModelListing[] {
    return [...this.#models].map(([name, { labels, versions, rollback }]) => ({
      name,
      versions: [...versions].map(([version, state]) => listVersion(version, state, labels, this.options.compute.engine.backend)),
      labels: { stable: labels.stable, canary: labels.canary && { version: labels.canary.version, traffic_share: labels.canary.trafficShare, shadow: labels.canary.shadow } },
      rollback,
    }));
  }

  listOne(name: string): ModelListing {
    this.#model(name);
    return this.list().find((listing) => listing.name === name)!;
  }

  queueLengths(): Map<string, number> {
    const served = (state: VersionState) => (state.status === 'loaded' ? state.served.queue.length : 0);
    return new Map([...this.#models].map(([name, { versions }]) => [name, [...versions.values()].reduce((sum, state) => sum + served(state), 0)]));
  }

  async close(reason: Problem): Promise<void> {
    this.#closing.abort(reason);
    const states = [...this.#models.values()].flatMap(({ versions }) => [...versions.values()]);
    await Promise.all(states.flatMap((state) => (state.status === 'loaded' ? [state.served.stop(reason)] : [])));
  }

  async #load(model: Model, { name, version, folder }: { name: string; version: string; folder: string }): Promise<void> {
    const { compute, batcher, metrics, log } = this.options;
    model.versions.set(version, { status: 'loading' });
    try {
      const served = await ServedVersion.open({ name, version, compute: { ...compute, folder }, batcher, onBatch: (size) => metrics.batch(name, size), log }, this.#closing.signal);
      this.#requireSameClasses(name, model, served);
      model.versions.set(version, { status: 'loaded', served });
      if (model.labels.stable === null) model.labels = { ...model.labels, stable: version };
      this.#changed(name, model, { version, folder, precision: served.precision }, 'a version is loaded and warm');
    } catch (error) {
      model.versions.set(version, { status: 'failed', reason: messageOf(error) });
      log.error({ model: name, version, err: error }, 'a version could not be loaded; the others go on');
      throw error;
    }
  }

  /** Versions of one model are asked the same question: clients may count on the classes. */
  #requireSameClasses(name: string, { labels, versions }: Model, served: ServedVersion): void {
    const stable = labels.stable === null ? undefined : versions.get(labels.stable);
    if (stable?.status !== 'loaded' || stable.served.card.classes.join('\0') === served.card.classes.join('\0')) return;
    const reason = `It has the classes ${served.card.classes.join(', ')}; ${name} has ${stable.served.card.classes.join(', ')}. Serve it under another name.`;
    void served.stop(new Problem('load-failed', reason));
    throw new UserError(reason);
  }

  /** A shadow is given the pixels that were decoded for the stable version. */
  #requireSamePictures({ labels, versions }: Model, version: string): void {
    const [stable, shadow] = [versions.get(labels.stable!), versions.get(version)];
    const question = (state: VersionState | undefined) => (state?.status === 'loaded' ? JSON.stringify([state.served.card.imageSize, state.served.card.normalization]) : null);
    if (question(stable) !== question(shadow)) throw new Problem('conflict', `Version ${version} takes pictures of another size or normalisation than the stable one: it can't be its shadow.`);
  }

  #requireReady(name: string, { versions }: Model, version: string): void {
    const state = versions.get(version);
    if (!state) throw new Problem('unknown-model', `${name} has no version ${version}. There are ${[...versions.keys()].join(', ')}.`);
    if (state.status !== 'loaded' || state.served.status !== 'ready') throw new Problem('conflict', `Version ${version} is not ready: no traffic can be given to it.`);
  }

  #model(name: string): Model {
    const model = this.#models.get(name);
    if (model) return model;
    if (this.#models.size === 0) throw new Problem('loading', 'No model is loaded yet.', { retryAfterSeconds: 1 });
    const near = nearest(name, this.#models.keys());
    throw new Problem('unknown-model', `There is no model called ${name.slice(0, 100)}. ${near ? `Did you mean ${near}?` : `There are ${[...this.#models.keys()].join(', ')}.`}`);
  }

  #onlyName(): string {
    const [first, ...others] = this.#models.keys();
    if (first === undefined) throw new Problem('loading', 'No model is loaded yet.', { retryAfterSeconds: 1 });
    if (others.length > 0) throw new Problem('bad-request', `Several models are served: name one by ?model=. There are ${[first, ...others].join(', ')}.`);
    return first;
  }

  async #insideRoot(path: string): Promise<string> {
    const { modelsRoot } = this.options;
    if (modelsRoot === null) throw new Problem('forbidden', 'The server was started without a folder that versions may be added from.');
    const root = await realpath(modelsRoot);
    const found = await realpath(resolve(root, path)).catch(() => null);
    const inside = found === null ? '' : relative(root, found);
    if (found === null || inside.startsWith('..') || isAbsolute(inside)) throw new Problem('load-failed', `There is no ${path} in the folder of models.`);
    return found;
  }

  #changed(name: string, model: Model, facts: object, message: string): void {
    model.tallies = { stable: emptyTally(), canary: emptyTally() };
    this.options.log.info({ model: name, ...facts }, message);
    this.#publish();
  }

  #publish(): void {
    const { metrics, compute } = this.options;
    metrics.models([...this.#models].flatMap(([model, { labels, versions }]) => [...versions].flatMap(([version, state]) => {
      if (state.status !== 'loaded') return [];
      const label = labels.stable === version ? 'stable' : labels.canary?.version === version ? 'canary' : 'none';
      return [{ model, version, label, architecture: state.served.card.architecture, backend: compute.engine.backend, dtype: state.served.precision }];
    })));
  }
}

function listVersion(version: string, state: VersionState, labels: Labels, backend: string): VersionListing {
  const served = state.status === 'loaded' ? state.served : null;
  const card = served?.card;
  return {
    version,
    status: served?.status ?? (state.status === 'failed' ? 'failed' : 'loading'),
    labels: [...(labels.stable === version ? ['stable' as const] : []), ...(labels.canary?.version === version ? ['canary' as const] : [])],
    reason: state.status === 'failed' ? state.reason : null,
    backend: served ? backend : null,
    architecture: card?.architecture ?? null,
    classes: card?.classes ?? null,
    image_size: card?.imageSize ?? null,
    precision: served?.precision ?? null,
    valid_accuracy: card?.validAccuracy ?? null,
    run_id: card?.runId ?? null,
  };
}

/** One more than the largest number among the names. */
function nextVersion(versions: Iterable<string>): string {
  const numbers = [...versions].filter((version) => /^\d{1,9}$/.test(version)).map(Number);
  return String(Math.max(0, ...numbers) + 1);
}
