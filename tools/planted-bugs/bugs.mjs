/**
 * Bugs that somebody could write, and the test that has to notice each. They lie in `packages/trainer`, which is copied; `find` stands in the
 * file exactly once. A bug that no longer applies is an error: then the code has changed, and the bug has to be written anew.
 * @typedef {{ name: string, file: string, find: string, put: string, test: string, named: string }} PlantedBug
 */

const membership = 'src/membership/membership.test.ts', coordinator = 'src/coordinator/coordinator.test.ts', fit = 'src/fit.test.ts', reducer = 'src/exchange/reducer.test.ts';

/** @type {PlantedBug[]} */
export const bugs = [
  { name: 'a lost fence: who comes back from a generation that is over joins at once', file: 'src/coordinator/coordinator.ts', find: '} else if (generation !== 0) {', put: '} else if (generation < 0) {', test: coordinator, named: 'remembers after a crash which generation it was at' },
  { name: 'facts of a stale generation are accepted', file: 'src/coordinator/coordinator.ts', find: "if (session.stage !== 'member' || generation?.number !== number) return;", put: "if (session.stage !== 'member' || !generation) return;", test: coordinator, named: 'forgets a generation that is over' },
  { name: 'a step that two workers tell is counted twice', file: 'src/coordinator/run-log.ts', find: 'return fact.step > this.#step;', put: 'return fact.step >= this.#step;', test: coordinator, named: 'writes each fact once whoever tells it' },
  { name: 'steps that are done again are not taken back', file: 'src/coordinator/run-log.ts', find: '    this.#step = step;\n', put: '    this.#step = Math.max(step, this.#step);\n', test: coordinator, named: 'goes on from a step that only a lost worker had applied' },
  { name: 'the generation is not written down before it begins', file: 'src/coordinator/state-file.ts', find: 'const whole: CoordinatorState = { formatVersion: 1, ...state };', put: 'const whole: CoordinatorState = { formatVersion: 1, ...state, generation: null };', test: coordinator, named: 'remembers after a crash which generation it was at' },
  { name: 'the join token is compared by its beginning', file: 'src/coordinator/security.ts', find: 'return timingSafeEqual(digest(given), digest(wanted));', put: "return timingSafeEqual(digest(given.slice(0, 'Bearer x'.length)), digest(wanted.slice(0, 'Bearer x'.length)));", test: coordinator, named: 'refuses a wrong token' },
  { name: 'a heartbeat never expires', file: 'src/membership/decide.ts', find: 'nowMs - member.lastHeardMs > options.detectionMs', put: 'nowMs - member.lastHeardMs > options.detectionMs * 1e9', test: membership, named: 'drops who is silent' },
  { name: 'a joiner skips the state: rank 0’s counts, not the newest', file: 'src/membership/decide.ts', find: 'holder: members.indexOf(newest)', put: 'holder: 0', test: membership, named: 'goes on from the newest state as soon as they have given up' },
  { name: 'a node that keeps failing is let in', file: 'src/membership/decide.ts', find: '.length >= maxFailures', put: '.length > 2 * maxFailures', test: membership, named: 'counts a node’s failures' },
  { name: 'a loss is taken back by a polite pause', file: 'src/membership/membership.ts', find: "return state.generation === null || state.ending?.kind === 'abandon' ? state :", put: 'return state.generation === null ? state :', test: membership, named: 'does not take a loss back' },
  { name: 'a torn checkpoint is trusted', file: 'src/checkpoint.ts', find: 'if (sha256(model) !== parsed.digests.model || sha256(optimizer) !== parsed.digests.optimizer)', put: 'if (model.byteLength === 0 || optimizer.byteLength === 0)', test: 'src/train.test.ts', named: 'passes over a torn checkpoint' },
  { name: 'a sample is taken twice where slices meet', file: 'src/membership/split.ts', find: 'Math.floor(((before + split[rank]!) * rows) / whole)]', put: 'Math.ceil(((before + split[rank]!) * rows) / whole)]', test: fit, named: 'takes each picture once an epoch' },
  { name: 'pictures that do not divide among the ranks are lost', file: 'src/membership/split.ts', find: ' + (rank < batchSize % worldSize ? 1 : 0)', put: '', test: membership, named: 'gives slices that make up any batch' },
  { name: 'gradients are averaged by ranks instead of the batch', file: 'src/training-step.ts', find: 'counted ? globalBatch : Number.POSITIVE_INFINITY', put: 'counted ? part.rows * exchange.worldSize : Number.POSITIVE_INFINITY', test: fit, named: 'has the same curve and weights with one, two and three ranks' },
  { name: 'running statistics are not agreed on', file: 'src/statistics.ts', find: 'if (config.syncBatchNorm) return;', put: 'if (config.syncBatchNorm || exchange.worldSize > 1) return;', test: fit, named: 'agrees on BatchNorm’s running statistics' },
  { name: 'a rank’s second word to one call is taken', file: 'src/exchange/reducer.ts', find: 'if (round.brought[rank] !== undefined) throw', put: 'if (round.brought[rank] === null) throw', test: reducer, named: 'refuses ranks that are not at the same call' },
  { name: 'bfloat16 is cut off instead of rounded', file: 'src/exchange/reducer.ts', find: '(b + 0x7fff + ((b >>> 16) & 1)) >>> 16', put: 'b >>> 16', test: reducer, named: 'is nearest' },
];
