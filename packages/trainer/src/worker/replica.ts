import { type Classifier, type Optimizer, createClassifier } from '@chameleon/core';
import { type Dataset, PictureLoader, openListed } from '@chameleon/data';
import { type Position, START, captureState, newestCheckpoint, restoreState } from '../checkpoint.js';
import type { NewEvent } from '../events.js';
import type { Exchange } from '../exchange/exchange.js';
import type { AskedChange } from '../live/change.js';
import { type FitResult, createOptimizer, fit } from '../fit.js';
import type { Progress } from '../membership/membership.js';
import { sliceOf } from '../membership/split.js';
import { type Milestone, leaveMilestone, writeBestModel } from '../run-files.js';
import { packState, unpackState } from '../state-bytes.js';
import { startModel } from '../train.js';
import { openStartWeights } from '../weights/resolve.js';
import type { Gauges } from './gauges.js';
import type { Assignment, ComputeSetup, GenerationEnd } from './messages.js';

/** What a generation is trained with, beside the state. */
export interface GenerationParts {
  exchange: Exchange;
  signal: AbortSignal;
  giveUp: AbortSignal;
  wantsCheckpoint: () => boolean;
  askedChanges: () => readonly AskedChange[];
  emit: (fact: NewEvent) => void;
  /** Whether a pause means that the run is stopped. */
  isStop: () => boolean;
}

/**
 * One worker's copy of what is trained: model, optimizer and position, kept from generation to generation. A step is in it, or
 * it isn't: whatever ends a generation finds it between two steps.
 */
export class Replica implements AsyncDisposable {
  readonly #optimizer: Optimizer;
  readonly #loader: PictureLoader;
  #model: Classifier | null = null;
  /** Null before this worker holds a state. */
  #position: Position | null = null;
  #writing: Promise<void> = Promise.resolve();

  private constructor(private readonly setup: ComputeSetup, private readonly gauges: Gauges, private readonly dataset: Dataset) {
    const { config, loaderThreads } = setup;
    this.#loader = new PictureLoader(dataset, { imageSize: config.imageSize, onBadPicture: config.skipBadImages ? 'skip' : 'throw', workers: loaderThreads });
    this.#optimizer = createOptimizer(config);
  }

  static async open(setup: ComputeSetup, gauges: Gauges): Promise<Replica> {
    return new Replica(setup, gauges, await openListed(setup.config.data, setup.manifest));
  }

  /** The newest state that this worker can bring: its own, or a checkpoint that it sees, or the start. */
  async progress(): Promise<Progress> {
    if (this.#position) return this.#position;
    const found = this.setup.runDirectory ? await newestCheckpoint(this.setup.runDirectory) : null;
    return found ? (JSON.parse(found.bytes.state) as { position: Position }).position : START;
  }

  /** Takes over the newest state and trains from it until the run ends, or the generation does. @throws ExchangeBroken */
  async train({ rank, split, holder }: Assignment, { exchange, signal, giveUp, wantsCheckpoint, askedChanges, emit, isStop }: GenerationParts): Promise<GenerationEnd> {
    const { config } = this.setup;
    this.gauges.enter('state');
    const start = await this.#takeState(exchange, holder);
    const slice = (rows: number) => sliceOf(split, rank, rows);
    const result = await fit({
      config, dataset: this.dataset, model: this.#model!, optimizer: this.#optimizer, loader: this.#loader, exchange, start, signal, giveUp, wantsCheckpoint, askedChanges,
      slice,
      onPhase: (phase) => this.gauges.enter(phase),
      onPosition: (position) => this.#reached(position, slice),
      emit: (fact) => Promise.resolve(emit(fact)),
      checkpoint: (position, atEpochEnd) => this.#checkpoint(rank, position, atEpochEnd, emit),
    });
    return this.#conclude(rank, result, emit, isStop());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#loader.close();
    this.#model?.dispose();
    this.#optimizer.dispose();
  }

  #reached(position: Position, slice: (rows: number) => [number, number]): void {
    const before = this.#position!;
    const [from, to] = slice(position.epoch === before.epoch ? position.totals.pictureCount - before.totals.pictureCount : 0);
    this.#position = position;
    this.gauges.reached(position.step, position.epoch, to - from);
  }

  /** The holder's state, on all ranks. */
  async #takeState(exchange: Exchange, holder: number): Promise<Position> {
    const { config } = this.setup;
    if (exchange.rank === holder) await this.#load();
    if (exchange.worldSize > 1) {
      const own = exchange.rank === holder ? packState(captureState({ model: this.#model!, optimizer: this.#optimizer, position: this.#position! })) : null;
      const bytes = await exchange.broadcast(own, holder);
      this.#model ??= createClassifier({ architecture: config.architecture, classCount: this.dataset.classes.length, head: config.recipe.head, seed: config.seed, bodyIsLoaded: true });
      if (own === null) this.#position = restoreState(unpackState(bytes), { model: this.#model, optimizer: this.#optimizer });
    }
    const position = this.#position!;
    this.gauges.reached(position.step, position.epoch, 0);
    return position;
  }

  /** Makes sure that there is a state: the newest checkpoint's, else the weights that the run starts from. */
  async #load(): Promise<void> {
    if (this.#position) return;
    const { config, runDirectory } = this.setup;
    const found = runDirectory ? await newestCheckpoint(runDirectory) : null;
    const model = startModel(config, this.dataset.classes.length, found ? { name: 'the checkpoint', tensors: new Map() } : await openStartWeights(config.weights));
    this.#position = found ? restoreState(found.bytes, { model, optimizer: this.#optimizer }) : START;
    this.#model = model;
  }

  /** Rank 0 writes it: inside an epoch while training goes on, at an epoch's end before anybody goes on. */
  async #checkpoint(rank: number, position: Position, atEpochEnd: Milestone['atEpochEnd'], emit: (fact: NewEvent) => void): Promise<void> {
    const { runDirectory, config } = this.setup;
    if (rank !== 0 || runDirectory === null) return;
    this.gauges.enter('checkpoint');
    const milestone: Milestone = { bytes: captureState({ model: this.#model!, optimizer: this.#optimizer, position }), position, atEpochEnd };
    const before = this.#writing;
    const writing = (async () => {
      await before;
      await leaveMilestone(runDirectory, milestone, this.dataset, config);
      emit({ type: 'checkpoint', step: position.step, epoch: position.epoch, best: atEpochEnd?.best ?? false });
    })();
    writing.catch(() => undefined);
    this.#writing = writing;
    if (atEpochEnd) await writing;
    else await before;
  }

  async #conclude(rank: number, { position, reason, validAccuracy }: FitResult, emit: (fact: NewEvent) => void, stop: boolean): Promise<GenerationEnd> {
    const { runDirectory, runId, config } = this.setup;
    const over = reason !== 'interrupted' || stop;
    if (over || rank === 0) await this.#writing;
    for (const skipped of this.#loader.skipped) emit({ type: 'skip', ...skipped });
    if (!over) return { reason: 'paused', finish: null };
    if (rank === 0 && reason !== 'interrupted' && position.best && runDirectory) await writeBestModel({ path: runDirectory, id: runId }, config, this.dataset.classes, position.best);
    // The coordinator knows how long it took in all.
    const finish = { type: 'finish' as const, step: position.step, validAccuracy, seconds: 0, reason };
    return { reason: reason === 'interrupted' ? 'paused' : 'done', finish: rank === 0 ? finish : null };
  }
}
