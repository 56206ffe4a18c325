// The hub's columns, made into what a chart draws: one axis of time, a line and
// a band for each series, and gaps where nothing was read.
import type { History, Series } from '../api/schema';

/** One series of a chart. */
export interface Line {
  key: string;
  mean: (number | null)[];
  min: (number | null)[];
  max: (number | null)[];
  /** Longer without a reading is a gap, in milliseconds. */
  gap: number;
}

export interface ChartData {
  /** Milliseconds since 1970, growing. */
  t: number[];
  lines: Line[];
}

/** This many readings may be missing before it is a gap. */
const MISSING = 3;

/** Puts series on one axis. */
export function chartData(history: History): ChartData {
  const step = history.step_ms ?? 0;
  const times = new Set<number>();
  for (const series of history.series) {
    const t = series.t ?? history.t ?? [];
    const column = columnOf(series);
    column.forEach((value, index) => value !== null && times.add(t[index]!));
  }
  const t = [...times].sort((a, b) => a - b);
  const place = new Map(t.map((time, index) => [time, index]));
  const lines = history.series.map((series) => {
    const own = series.t ?? history.t ?? [];
    const spread = (column: (number | null)[] | null | undefined) => {
      const out = new Array<number | null>(t.length).fill(null);
      column?.forEach((value, index) => {
        const at = place.get(own[index]!);
        if (value !== null && at !== undefined) out[at] = value;
      });
      return out;
    };
    const mean = spread(columnOf(series));
    const interval = Math.max(step, series.interval_ms, usualDistance(own.filter((_, index) => columnOf(series)[index] !== null)));
    return {
      key: series.key,
      mean,
      min: series.min ? spread(series.min) : mean,
      max: series.max ? spread(series.max) : mean,
      gap: interval * MISSING,
    };
  });
  return { t, lines };
}

const columnOf = (series: Series): (number | null)[] => series.mean ?? series.last ?? series.max ?? series.min ?? [];

/** How far apart readings mostly are: nine of ten are no further. Their pace may have changed within the range. */
function usualDistance(t: number[]): number {
  const distances = t.slice(1).map((time, index) => time - t[index]!);
  if (distances.length === 0) return 60_000;
  distances.sort((a, b) => a - b);
  return distances[Math.floor((distances.length - 1) * 0.9)]!;
}

/** Where a line breaks: the pairs of neighbouring readings that are too far apart, by their places. */
export function gapsOf(t: number[], line: Line): [number, number][] {
  const gaps: [number, number][] = [];
  let last = -1;
  for (let index = 0; index < t.length; index += 1) {
    if (line.mean[index] === null) continue;
    if (last >= 0 && t[index]! - t[last]! > line.gap) gaps.push([last, index]);
    last = index;
  }
  return gaps;
}

/** The place of the reading that a line stands at: hosts are not read at the same moments. */
export function standingAt(t: number[], line: Line, index: number): number | null {
  for (let place = index; place >= 0 && t[index]! - t[place]! <= line.gap; place -= 1) if (line.mean[place] !== null) return place;
  return null;
}

/** Adds what was just read. What is older than `from` is dropped. */
export function appended(data: ChartData, at: number, values: Map<string, number>, from: number): ChartData {
  const lastTime = data.t[data.t.length - 1] ?? 0;
  if (at <= lastTime) return data;
  const drop = Math.max(0, data.t.findIndex((time) => time >= from));
  const add = (column: (number | null)[], key: string) => [...column.slice(drop), values.get(key) ?? null];
  return {
    t: [...data.t.slice(drop), at],
    lines: data.lines.map((line) => ({ ...line, mean: add(line.mean, line.key), min: add(line.min, line.key), max: add(line.max, line.key) })),
  };
}

/** A chart as a table for other programs. */
export function csv(data: ChartData): string {
  const cell = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const head = ['time', ...data.lines.flatMap(({ key }) => [key, `${key} min`, `${key} max`])];
  const rows = data.t.map((time, index) => {
    const values = data.lines.flatMap((line) => [line.mean[index], line.min[index], line.max[index]]);
    return [new Date(time).toISOString(), ...values.map((value) => (value === null || value === undefined ? '' : String(value)))];
  });
  return [head, ...rows].map((row) => row.map(cell).join(',')).join('\n') + '\n';
}

/** Least, greatest, mean and last of a line. */
export function figures(line: Line): { min: number; max: number; mean: number; last: number } | null {
  const read = line.mean.filter((value): value is number => value !== null);
  if (read.length === 0) return null;
  const least = line.min.reduce<number>((a, b) => (b !== null && b < a ? b : a), Infinity);
  const greatest = line.max.reduce<number>((a, b) => (b !== null && b > a ? b : a), -Infinity);
  return { min: least, max: greatest, mean: read.reduce((a, b) => a + b, 0) / read.length, last: read[read.length - 1]! };
}
