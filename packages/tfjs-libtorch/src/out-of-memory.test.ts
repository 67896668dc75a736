import * as tf from '@tensorflow/tfjs-core';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { OutOfMemoryError, limitMemory, memory } from './index.js';
import { isSanitized } from './testing/sanitizer.js';

const MEBIBYTE = 2 ** 20;

beforeAll(() => tf.setBackend('libtorch'));
afterEach(() => limitMemory(0));

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return null;
}

describe('memory that can not be had', () => {
  it('is an error with the operator, its shapes and the bytes, and what was there before can be used further', () => {
    const x = tf.ones([1024, 1024]), before = memory();
    limitMemory(before.liveBytes + 2 * MEBIBYTE);
    const error = thrown(() => tf.add(x, x)) as OutOfMemoryError;
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error.message).toMatch(/^Add\(a \[1024, 1024\], b \[1024, 1024\]\): out of memory: 4194304 bytes \(4 MiB\) were wanted while tensors hold \d+ MiB; they may take \d+ MiB here, by limitMemory$/);
    expect(error).toMatchObject({ code: 'ERR_OUT_OF_MEMORY', wantedBytes: 4 * MEBIBYTE, liveBytes: before.liveBytes, limitBytes: before.liveBytes + 2 * MEBIBYTE });
    expect(memory()).toMatchObject({ tensors: before.tensors, liveBytes: before.liveBytes });
    const small = tf.slice(x, 0, 4), sum = tf.sum(small);
    expect(sum.dataSync()[0]).toBe(4096);
    expect(String(thrown(() => tf.tensor(new Float32Array(MEBIBYTE), [MEBIBYTE])))).toContain('tensor(float32 [1048576]): out of memory');
    tf.dispose([x, small, sum]);
  });

  it('is told before the machine itself has none left', () => {
    const error = thrown(() => tf.fill([1 << 15, 1 << 15, 1 << 10], 1)) as OutOfMemoryError;
    expect(error.message).toMatch(/^Fill\(\): out of memory: 4398046511104 bytes .* by (the machine's memory|its control group's memory|`ulimit -v`)$/);
    expect(error.limitBytes).toBeLessThan(error.wantedBytes!);
  });
});

/**
 * A process of its own that computes in a loop with ever larger pictures until memory is out, three times over, and then with small ones.
 * Prints a line of JSON.
 */
const PROGRAM = `
import * as tf from '@tensorflow/tfjs-core';
import '${new URL('../dist/index.js', import.meta.url).href}';
await tf.setBackend('libtorch');
const filter = tf.ones([3, 3, 16, 16]), errors = [];
for (let attempt = 0; attempt < 3; attempt++) {
  for (let batch = 8, kept = []; ; batch += 8) {
    try {
      kept.push(tf.tidy(() => tf.relu(tf.conv2d(tf.ones([batch, 128, 128, 16]), filter, 1, 'same'))));
    } catch (error) {
      tf.dispose(kept);
      errors.push({ message: error.message, code: error.code, wantedBytes: error.wantedBytes, liveBytes: error.liveBytes, limitBytes: error.limitBytes });
      break;
    }
  }
}
const y = tf.tidy(() => tf.conv2d(tf.ones([1, 8, 8, 16]), filter, 1, 'valid'));
console.log(JSON.stringify({ errors, last: y.dataSync()[0] }));
`;

interface Outcome { errors: { message: string; code: string; wantedBytes: number; liveBytes: number; limitBytes: number }[]; last: number }

function expectSurvival({ status, signal, stdout, stderr }: ReturnType<typeof run>, limit: string): void {
  expect({ status, signal, stderr }).toMatchObject({ status: 0, signal: null });
  const { errors, last } = JSON.parse(stdout) as Outcome;
  expect(last).toBe(144);
  expect(errors).toHaveLength(3);
  for (const { message, code, wantedBytes, liveBytes, limitBytes } of errors) {
    expect(message).toMatch(new RegExp(`^\\w+\\(.*\\): out of memory: ${wantedBytes} bytes .* by ${limit}$`));
    expect(code).toBe('ERR_OUT_OF_MEMORY');
    expect(liveBytes + wantedBytes).toBeGreaterThan(limitBytes);
  }
}

/** Runs PROGRAM after a line of bash. */
const run = (shell: string) => spawnSync('bash', ['-c', `${shell}; exec "$0" --input-type=module -e "$1"`, process.execPath, PROGRAM], { cwd: new URL('..', import.meta.url), encoding: 'utf8', timeout: 55_000 });

/** A control group of version 1 or 2 for this test, beneath the process's own; null where none may be made. */
function makeGroup(limitBytes: number): { folder: string } & Disposable | null {
  const groups = readFileSync('/proc/self/cgroup', 'utf8');
  const first = /^\d+:memory:(.*)$/m.exec(groups)?.[1], second = /^0::(.*)$/m.exec(groups)?.[1];
  const [parent, file] = first === undefined ? [`/sys/fs/cgroup${second}`, 'memory.max'] : [`/sys/fs/cgroup/memory${first}`, 'memory.limit_in_bytes'];
  const folder = `${parent}/chameleon-${process.pid}`;
  try {
    mkdirSync(folder);
    const made = { folder, [Symbol.dispose]: () => rmdirSync(folder) };
    if (!existsSync(`${folder}/${file}`)) return made[Symbol.dispose](), null;
    writeFileSync(`${folder}/${file}`, `${limitBytes}`);
    return made;
  } catch {
    return null;
  }
}

describe('a process that is out of memory again and again', () => {
  it.skipIf(isSanitized)('goes on under `ulimit -v`', () => {
    expectSurvival(run('ulimit -v 2800000'), '`ulimit -v`');
  });

  it('goes on in a control group with a limit (where one may be made)', ({ skip }) => {
    using group = makeGroup(700 * MEBIBYTE);
    if (group === null) return skip('no control group with a limit may be made here');
    expectSurvival(run(`echo $$ >${group.folder}/cgroup.procs`), "its control group's memory");
  });
});
