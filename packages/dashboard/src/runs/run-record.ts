import { type FileHandle, open } from 'node:fs/promises';
import type { EpochRow, Mark } from '../contract.js';
import { type Fact, readFact } from './facts.js';
import { StepCurve } from './step-curve.js';

const CHUNK_BYTES = 2 ** 20;
/** A line that is longer is no fact. */
const LINE_LIMIT = 2 ** 20;
/** Marks beyond it are too many to draw. */
const MARK_LIMIT = 500;

/** What a run wrote down, read once and then only what is added. Lines of a run that went back to a checkpoint are taken back as they come. */
export class RunRecord {
  readonly curve = new StepCurve();
  epochs: EpochRow[] = [];
  marks: Mark[] = [];
  start: Extract<Fact, { type: 'start' }> | null = null;
  finish: { reason: string } | null = null;
  fault: string | null = null;
  checkpointAtMs: number | null = null;
  skippedCount = 0;
  brokenLines = 0;
  #offset = 0;
  #size = 0;
  #rest = '';
  #decoder = new TextDecoder();
  #reading: Promise<void> | null = null;

  constructor(private readonly path: string) {}

  /** In [0, 1]; 1 when all that was there has been read. */
  get readShare(): number {
    return this.#size === 0 ? 1 : this.#offset / this.#size;
  }

  /** Reads what is new. Waits no longer than `patienceMs`; a long record goes on being read meanwhile. */
  async refresh(patienceMs: number): Promise<void> {
    this.#reading ??= this.#readOn().finally(() => (this.#reading = null));
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, patienceMs)));
    await Promise.race([this.#reading, patience]).finally(() => clearTimeout(timer));
  }

  async #readOn(): Promise<void> {
    const file = await open(this.path, 'r').catch(() => null);
    if (file === null) return;
    try {
      this.#size = (await file.stat()).size;
      if (this.#size < this.#offset) this.#forget();
      const buffer = Buffer.alloc(CHUNK_BYTES);
      while (this.#offset < this.#size && (await this.#readChunk(file, buffer))) {
        // Others get their turn between two chunks.
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      await file.close();
    }
  }

  async #readChunk(file: FileHandle, buffer: Buffer): Promise<boolean> {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, this.#offset);
    if (bytesRead === 0) return false;
    this.#offset += bytesRead;
    const lines = (this.#rest + this.#decoder.decode(buffer.subarray(0, bytesRead), { stream: true })).split('\n');
    this.#rest = lines.pop()!;
    if (this.#rest.length > LINE_LIMIT) this.#rest = '';
    for (const line of lines) if (line !== '') this.#take(line);
    return true;
  }

  /** The file is another one than before. */
  #forget(): void {
    this.curve.truncate(0);
    Object.assign(this, { epochs: [], marks: [], start: null, finish: null, fault: null, checkpointAtMs: null, skippedCount: 0, brokenLines: 0 });
    [this.#offset, this.#rest, this.#decoder] = [0, '', new TextDecoder()];
  }

  #take(line: string): void {
    const fact = readFact(line);
    if (fact === null) {
      this.brokenLines++;
      return;
    }
    switch (fact.type) {
      case 'step':
        return this.curve.push(fact);
      case 'start':
        this.start = fact;
        return;
      case 'resume':
        this.#goBack(fact);
        return this.#mark(fact.time, 'resume', `went on from step ${fact.step}`, fact.step);
      case 'phase':
        return this.#mark(fact.time, 'phase', `phase ${fact.phase + 1}: ${fact.trainable.toLocaleString('en-US')} numbers learn, BatchNorm ${fact.batchNorm}`);
      case 'epoch': {
        const { time, type: _, ...row } = fact;
        this.epochs.push({ ...row, atMs: Date.parse(time) });
        return;
      }
      case 'checkpoint':
        this.checkpointAtMs = Date.parse(fact.time);
        return;
      case 'command':
        // What the ranks have taken of it is a change, and marked as that.
        if (fact.command === 'unfreeze' || fact.command === 'set-rate') return;
        return this.#mark(fact.time, 'command', [fact.command, ...Object.entries(fact.detail).map(([name, value]) => `${name} ${String(value)}`)].join(', '));
      case 'change':
        return this.#mark(fact.time, 'change', fact.change.kind === 'unfreeze' ? 'everything learns' : `learning rate of ${fact.change.group} set to ${fact.change.learningRate}`, fact.step);
      case 'generation':
        this.#goBack(fact);
        return this.#mark(fact.time, 'generation', `generation ${fact.generation} of ${fact.workers.length} workers: ${fact.reason}`, fact.step);
      case 'fault':
        this.fault = fact.message;
        return this.#mark(fact.time, 'fault', fact.message);
      case 'finish':
        this.finish = { reason: fact.reason };
        return this.#mark(fact.time, 'finish', fact.reason, fact.step);
      case 'skip':
        this.skippedCount++;
        return;
      case 'other':
        return;
      default:
        fact satisfies never;
    }
  }

  /** The run goes on from an earlier state: what came after it is taken back. */
  #goBack({ step, epoch }: { step: number; epoch: number }): void {
    this.curve.truncate(step);
    // A change is done again with its step, and told again.
    this.marks = this.marks.filter((mark) => mark.kind !== 'change' || mark.step <= step);
    this.epochs = this.epochs.filter((row) => row.step <= step && row.epoch < epoch);
    this.finish = this.fault = null;
  }

  #mark(time: string, kind: Mark['kind'], text: string, step = this.curve.lastStep): void {
    this.marks.push({ step, atMs: Date.parse(time), kind, text });
    if (this.marks.length > MARK_LIMIT) this.marks.splice(0, this.marks.length - MARK_LIMIT);
  }
}
