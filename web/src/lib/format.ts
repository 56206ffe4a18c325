// Values as people write them. The same words and steps as the hub's own
// (tomte-model, catalogue/unit.rs), so that both surfaces read alike.

import { t } from './strings';

const DECIMAL_HERTZ = ['Hz', 'kHz', 'MHz', 'GHz'];
const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A value of a unit of the catalogue: `93 %`, `1.2 GiB`, `3 d 4 h`. Missing is a dash. */
export function value(number: number | null | undefined, unit: string): string {
  if (number === null || number === undefined || !Number.isFinite(number)) return '–';
  switch (unit) {
    case 'number':
      return plain(number);
    case 'ratio':
      return percent(number);
    case 'bytes':
      return scaled(number, 1024, BYTES);
    case 'bytes_per_second':
      return `${scaled(number, 1024, BYTES)}/s`;
    case 'per_second':
      return `${plain(number)}/s`;
    case 'seconds':
      return duration(number);
    case 'celsius':
      return `${number.toFixed(1)} °C`;
    case 'hertz':
      return scaled(number, 1000, DECIMAL_HERTZ);
    case 'rpm':
      return `${number.toFixed(0)} rpm`;
    case 'watts':
      return `${number.toFixed(1)} W`;
    case 'volts':
      return `${number.toFixed(2)} V`;
    case 'amperes':
      return `${number.toFixed(2)} A`;
    default:
      return `${plain(number)} ${unit}`;
  }
}

/** A yes or a no that is told as a number; any other number is one. */
export function flag(number: number | null | undefined): string {
  if (number === 0 || number === 1) return t.flags[number];
  return value(number, 'number');
}

function percent(ratio: number): string {
  const number = ratio * 100;
  return Math.abs(number) < 10 && number !== 0 ? `${number.toFixed(1)} %` : `${number.toFixed(0)} %`;
}

/** At most two decimals, none where there are none; thousands apart. */
export function plain(number: number): string {
  if (Math.abs(number) >= 10_000) return Math.round(number).toLocaleString('en').replaceAll(',', '\u202f');
  return number
    .toFixed(2)
    .replace(/\.?0+$/, '')
    .replace(/^-0$/, '0');
}

function scaled(number: number, base: number, prefixes: string[]): string {
  let rest = number;
  let step = 0;
  // 999.95 would be written as 1000.0: step up a little before the base.
  while (Math.abs(rest) >= base * 0.9995 && step + 1 < prefixes.length) {
    rest /= base;
    step += 1;
  }
  return `${rest.toFixed(step > 0 && Math.abs(rest) < 99.95 ? 1 : 0)} ${prefixes[step]}`;
}

/** A span of time, its two largest parts: `3 d 4 h`, `5 min`, `12 ms`. */
export function duration(seconds: number): string {
  const sign = seconds < 0 ? '-' : '';
  const size = Math.abs(seconds);
  const parts = (a: number, aUnit: string, b: number, bUnit: string) =>
    b >= 1 ? `${sign}${Math.floor(a)} ${aUnit} ${Math.floor(b)} ${bUnit}` : `${sign}${Math.floor(a)} ${aUnit}`;
  // Whole seconds first, so that 59.9 s does not become "0 min 60 s".
  const whole = Math.round(size);
  if (size === 0) return '0 s';
  if (size < 0.0009995) return `${sign}${(size * 1e6).toFixed(0)} µs`;
  if (size < 0.9995) return `${sign}${(size * 1e3).toFixed(0)} ms`;
  if (size < 9.95) return `${sign}${size.toFixed(1)} s`;
  if (whole < 60) return `${sign}${whole} s`;
  if (whole < 3_600) return parts(whole / 60, 'min', whole % 60, 's');
  if (whole < 86_400) return parts(whole / 3_600, 'h', (whole % 3_600) / 60, 'min');
  return parts(whole / 86_400, 'd', (whole % 86_400) / 3_600, 'h');
}

/** An age in one short word: `4 s`, `12 min`, `3 h`, `5 d`. */
export function age(millis: number): string {
  const seconds = Math.max(0, Math.round(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

const two = (number: number) => String(number).padStart(2, '0');

/** A moment in the viewer's zone, exact: `2026-03-29 14:05:09`. */
export function exact(moment: number | string): string {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return '–';
  return `${day(date)} ${clock(date)}`;
}

/** The day in the viewer's zone. */
export function day(moment: Date | number | string): string {
  const date = new Date(moment);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The time of day in the viewer's zone, with seconds. */
export function clock(moment: Date | number | string): string {
  const date = new Date(moment);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** A text of the hub's with its exact times in the viewer's zone, to the minute. */
export function humanTimes(text: string): string {
  return text.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (moment) => exact(moment).slice(0, -3));
}

/** The zone that times are shown in: `Europe/Oslo (UTC+02:00)`. */
export function zone(date = new Date()): string {
  const offset = -date.getTimezoneOffset();
  const sign = offset < 0 ? '-' : '+';
  const hours = `UTC${sign}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name && name !== 'UTC' ? `${name} (${hours})` : hours;
}

const SUFFIXES =
  /_(bytes_per_second|per_second|bytes|seconds|ratio|celsius|hertz|rpm|watts|volts|amperes|total)$/;

/** A field's or attribute's name for people: `read_bytes_per_second` is `read`, `used_ratio` is `used`. */
export function label(name: string): string {
  const short = name.replace(SUFFIXES, '');
  return (short || name).replaceAll('_', ' ');
}

/** Names for fields that stand beside each other: where two would read alike, the unit tells them apart. */
export function labels(names: string[]): Map<string, string> {
  const count = new Map<string, number>();
  for (const name of names) count.set(label(name), (count.get(label(name)) ?? 0) + 1);
  return new Map(
    names.map((name) => {
      const short = label(name);
      const ratio = name.endsWith('_ratio');
      return [name, (count.get(short) ?? 0) > 1 && ratio ? `${short} %` : short];
    }),
  );
}

/** Any scalar of a table or an attribute. */
export function scalar(one: unknown): string {
  if (one === null || one === undefined || one === '') return '–';
  if (typeof one === 'boolean') return t.flags[one ? 1 : 0];
  if (typeof one === 'number') return plain(one);
  return String(one);
}

/** What a column's name says about its unit. */
export function unitOfName(name: string): string {
  const match = SUFFIXES.exec(name);
  return match?.[1] && match[1] !== 'total' ? match[1] : 'number';
}
