/** Numbers as a person reads them, the same in every locale. What is no number is a dash. */

export const DASH = '–';

const either = (value: number, format: (value: number) => string) => (Number.isFinite(value) ? format(value) : DASH);

/** `0.958` → `95.8 %`. */
export const percent = (ratio: number, digits = 1) => either(ratio, (value) => `${(100 * value).toFixed(digits)} %`);

/** An accuracy or loss, four decimals. */
export const decimal = (value: number, digits = 4) => either(value, (finite) => (Math.abs(finite) >= 1e6 ? finite.toExponential(2) : finite.toFixed(digits)));

/** A difference with its sign; the minus is a minus. */
export const signed = (value: number, digits = 4) => either(value, (finite) => `${finite < 0 && Number(finite.toFixed(digits)) !== 0 ? '−' : '+'}${Math.abs(finite).toFixed(digits)}`);

export const count = (value: number) => either(value, (finite) => Math.round(finite).toLocaleString('en-US'));

/** `1 picture`, `1,234 pictures`. */
export const counted = (value: number, one: string, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** A learning rate, three significant digits: `0.001`, `1e-5`. */
export const rate = (value: number) =>
  either(value, (finite) => (finite !== 0 && Math.abs(finite) < 1e-3 ? finite.toExponential(2).replace(/\.?0+e/, 'e') : String(Number(finite.toPrecision(3)))));

/** `12.3 s`, `4 min 07 s`, `2 h 05 min`. */
export function duration(seconds: number): string {
  return either(seconds, (value) => {
    if (value < 59.95) return `${value.toFixed(1)} s`;
    const whole = Math.round(value);
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
    const minutes = Math.round(whole / 60);
    return `${count(Math.floor(minutes / 60))} h ${String(minutes % 60).padStart(2, '0')} min`;
  });
}

/** An ISO time as `24 Nov 2026, 17:26:11 UTC`; a dash where it is no time. */
export function moment(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return DASH;
  const date = time.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });
  return `${date}, ${time.toISOString().slice(11, 19)} UTC`;
}
