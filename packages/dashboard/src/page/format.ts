/** Numbers and times as a person reads them. */
export type Unit = 'number' | 'ratio' | 'seconds' | 'bytes' | 'rate' | 'images' | 'celsius' | 'count' | 'learning-rate';

const plain = (value: number, digits: number): string => value.toLocaleString('en-US', { maximumSignificantDigits: digits });

export function formatValue(value: number | null | undefined, unit: Unit): string {
  if (value === null || value === undefined) return 'none';
  if (Number.isNaN(value)) return 'not a number';
  if (!Number.isFinite(value)) return value > 0 ? 'infinite' : '-infinite';
  switch (unit) {
    case 'ratio':
      return `${(value * 100).toLocaleString('en-US', { minimumFractionDigits: 1, maximumFractionDigits: 2 })}\u00a0%`;
    case 'seconds':
      return formatSeconds(value);
    case 'bytes':
      return formatBytes(value);
    case 'rate':
      return `${plain(value, 3)}/s`;
    case 'images':
      return `${plain(value, 3)} images/s`;
    case 'celsius':
      return `${plain(value, 3)} °C`;
    case 'count':
      return value.toLocaleString('en-US', { maximumFractionDigits: 2 });
    case 'learning-rate':
      return value === 0 ? '0' : value >= 0.01 ? plain(value, 3) : value.toExponential(1);
    case 'number':
      return plain(value, 4);
    default:
      return unit satisfies never;
  }
}

/** A value beside an axis, whose panel says what is counted. */
export function formatTick(value: number, unit: Unit): string {
  if (unit === 'ratio') return `${plain(value * 100, 3)}\u00a0%`;
  return unit === 'images' || unit === 'rate' || unit === 'count' ? value.toLocaleString('en-US', { maximumSignificantDigits: 3, notation: Math.abs(value) >= 100_000 ? 'compact' : 'standard' }) : formatValue(value, unit);
}

/** A span of time: ms below a second, then the two largest parts. */
export function formatSeconds(seconds: number): string {
  const size = Math.abs(seconds);
  if (size === 0) return '0 s';
  if (size < 0.001) return `${plain(seconds * 1e6, 3)} µs`;
  if (size < 1) return `${plain(seconds * 1000, 3)} ms`;
  if (size < 60) return `${plain(seconds, 3)} s`;
  const whole = Math.round(size);
  const sign = seconds < 0 ? '-' : '';
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${sign}${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${sign}${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes === 0 ? 0 : Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.abs(bytes)) / 10)));
  return `${plain(bytes / 1024 ** power, 3)} ${units[power]!}`;
}

export function formatTime(ms: number, withDay = false): string {
  const at = new Date(ms);
  const clock = at.toLocaleTimeString('en-GB');
  return withDay ? `${at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })}, ${clock}` : clock;
}

/** How long ago; a clock that is ahead says so. */
export function formatAgo(ms: number, nowMs: number): string {
  const seconds = (nowMs - ms) / 1000;
  if (seconds < -2) return `${formatSeconds(-seconds)} ahead of this clock`;
  return seconds < 1 ? 'just now' : `${formatSeconds(Math.round(seconds))} ago`;
}
