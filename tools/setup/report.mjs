/**
 * What a person sees: a line for each stage that does something, begun when it begins and ended with its time. Notes (what was found)
 * wait for the first stage, so that a run with nothing to do prints its summary alone.
 * @param {{ write: (text: string) => void, verbose: boolean, now: () => number }} options `verbose`: the tools print between the two
 *   ends of a line, so it is begun anew; `now` in ms
 */
export function createReport({ write, verbose, now }) {
  const held = [];
  let working = false;
  const begin = () => {
    working = true;
    for (const line of held.splice(0)) write(`${line}\n`);
  };
  return {
    /** A line that matters only where something is being done. */
    note(line) {
      if (working) write(`${line}\n`);
      else held.push(line);
    },

    /** A line that is printed whatever else happens. */
    say(line) {
      begin();
      write(`${line}\n`);
    },

    /**
     * Does a stage's work. Its outcome ("compiled in") stands before the time.
     * @template T
     * @param {string} name
     * @param {() => Promise<T>} work
     * @param {(result: T) => string} outcomeOf
     * @returns {Promise<T>}
     */
    async stage(name, work, outcomeOf = () => '') {
      begin();
      write(`${name} … ${verbose ? '\n' : ''}`);
      const end = (text) => write(`${verbose ? `${name} … ` : ''}${text}\n`);
      const began = now();
      try {
        const result = await work();
        const outcome = outcomeOf(result);
        end(`${outcome}${outcome ? ' ' : ''}${formatDuration(now() - began)}`);
        return result;
      } catch (error) {
        end(`${error.exitCode > 128 ? 'interrupted' : 'failed'} after ${formatDuration(now() - began)}`);
        throw error;
      }
    },
  };
}

/** @typedef {ReturnType<typeof createReport>} Report */

/** "0.4 s", "28 s", "2 min 5 s" out of milliseconds. */
export function formatDuration(ms) {
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
