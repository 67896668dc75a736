import { remark } from './output.js';

/**
 * Ctrl-C and SIGTERM as an AbortSignal: the work at hand is finished and a checkpoint is left. A second one ends the
 * process at once.
 */
export function interruption(): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(130);
    remark('\nStopping after this step; once more to stop at once.');
    controller.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => void process.off('SIGINT', onSignal).off('SIGTERM', onSignal),
  };
}
