/**
 * What `work` gives, with a signal that aborts with `signal`, or as a TimeoutError after `timeoutMs`. Nothing of it is left afterwards:
 * what AbortSignal.any() makes, Node 20 never lets go of once somebody listened to it (nodejs/node#54614), 2 kB a call.
 */
export async function within<Result>(timeoutMs: number, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  signal?.throwIfAborted();
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(new DOMException(`not done within ${timeoutMs / 1000} s`, 'TimeoutError')), timeoutMs);
  const pass = () => stop.abort(signal?.reason);
  signal?.addEventListener('abort', pass, { once: true });
  try {
    return await work(stop.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', pass);
  }
}
