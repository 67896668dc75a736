/**
 * Has the threads of an operator wait for each other awake only shortly. By default libgomp's spin for milliseconds at the end of each of
 * the network's 40 operations, which takes processors from whoever else wants them.
 * It reads this when it is loaded, so call it before the backend is. Whoever has set it, or the policy, keeps what was set.
 */
export function waitShortly(): void {
  if (process.env['OMP_WAIT_POLICY'] === undefined) process.env['GOMP_SPINCOUNT'] ??= '10000';
}
