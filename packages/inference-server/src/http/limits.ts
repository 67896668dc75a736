/** What a request may cost. */
export interface Limits {
  /** Bytes of a request's body. */
  bodyBytes: number;
  /** Bytes of all bodies that are in memory at one time. */
  bufferedBytes: number;
  /** Pictures a request. */
  pictures: number;
  /** Pixels a picture, before it is decoded. */
  pixels: number;
  /** ms for a request to arrive whole. */
  receiveMs: number;
  /** ms a picture in a decoding thread. */
  decodeMs: number;
  /** ms from the reading of a request to its computation; then it is refused with 429. */
  waitMs: number;
  /** ms a batch on the compute thread. */
  computeMs: number;
  /** Open connections. */
  connections: number;
}

export const DEFAULT_LIMITS: Limits = {
  bodyBytes: 32 * 2 ** 20,
  bufferedBytes: 512 * 2 ** 20,
  pictures: 32,
  pixels: 50_000_000,
  receiveMs: 30_000,
  decodeMs: 10_000,
  waitMs: 10_000,
  computeMs: 60_000,
  connections: 2_048,
};
