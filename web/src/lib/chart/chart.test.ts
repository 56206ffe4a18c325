import { describe, expect, it } from 'vitest';
import type { History, Series } from '../api/schema';
import { parseSeries, seriesText } from './address';
import { appended, chartData, csv, figures, gapsOf, standingAt } from './data';
import { namesOf, panelsOf, titleOf } from './names';
import { chosen, moved, resolve, stepFor, widened } from './range';

const series = (key: string, mean: (number | null)[], more: Partial<Series> = {}): Series => ({
  key, kind: 'cpu', field: 'usage_ratio', unit: 'ratio', tier: 'raw', interval_ms: 10, mean, ...more,
});
const history = (t: number[], all: Series[]): History => ({ from: 0, to: 100, step_ms: 10, t, series: all });

describe('addresses', () => {
  it.each(['nas/filesystem:/mnt/a:b/used_ratio', 'nas/cpu:cpu/usage_ratio', 'pve/guest:100/cpu_ratio'])('%s comes back', (text) => {
    expect(seriesText(parseSeries(text)!)).toBe(text);
  });

  it.each(['', 'nas', 'nas/cpu', 'nas/cpu:/x', '/cpu:cpu/x', 'nas/cpu:cpu'])('%j is none', (text) => expect(parseSeries(text)).toBeNull());
});

describe('ranges', () => {
  it('are relative or exact', () => {
    expect(resolve({ from: '-1h', to: 'now' }, 10_000_000)).toEqual({ from: 6_400_000, to: 10_000_000, live: true });
    expect(resolve({ from: '5', to: '9' }, 10)).toEqual({ from: 5, to: 9, live: false });
    expect(resolve({ from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }, 0)?.live).toBe(false);
    for (const bad of [{ from: 'x', to: 'now' }, { from: '9', to: '5' }, { from: '-1q', to: 'now' }]) expect(resolve(bad, 10)).toBeNull();
  });

  it('move, widen, and never beyond now', () => {
    expect(moved({ from: 100, to: 200 }, -1, 1_000)).toEqual(chosen(50, 150));
    expect(moved({ from: 100, to: 200 }, 1, 210)).toEqual(chosen(110, 210));
    expect(widened({ from: 100, to: 200 }, 220)).toEqual(chosen(50, 220));
  });

  it('have steps that fit', () => {
    expect(stepFor(3_600_000, 600)).toBe(10_000);
    expect(stepFor(86_400_000, 600)).toBe(300_000);
    expect(stepFor(60_000, 600)).toBe(1_000);
    expect(stepFor(3e13, 600)).toBe(604_800_000);
  });
});

describe('data', () => {
  it('puts series with times of their own on one axis', () => {
    const data = chartData({ from: 0, to: 9, series: [series('a', [1, 2], { t: [0, 20] }), series('b', [3, 4], { t: [10, 20] })] });
    expect(data.t).toEqual([0, 10, 20]);
    expect(data.lines.map((line) => line.mean)).toEqual([[1, null, 2], [null, 3, 4]]);
  });

  it('drops steps in which nobody read anything, and keeps least and greatest', () => {
    const data = chartData(history([0, 10, 20], [series('a', [1, null, 3], { min: [0, null, 2], max: [2, null, 4] })]));
    expect(data.t).toEqual([0, 20]);
    expect(data.lines[0]).toMatchObject({ mean: [1, 3], min: [0, 2], max: [2, 4] });
    expect(figures(data.lines[0]!)).toEqual({ min: 0, max: 4, mean: 2, last: 3 });
    expect(figures({ ...data.lines[0]!, mean: [null] })).toBeNull();
  });

  it('breaks a line where readings are missing, not where its pace is slow', () => {
    const t = [0, 60, 120, 180, 240, 900, 960];
    const data = chartData({ from: 0, to: 1, series: [series('a', t.map(() => 1), { t })] });
    expect(gapsOf(data.t, data.lines[0]!)).toEqual([[4, 5]]);
    const fast = chartData({ from: 0, to: 1, series: [series('a', [1, 1, 1, 1], { t: [0, 10, 20, 60] })] });
    expect(gapsOf(fast.t, { ...fast.lines[0]!, gap: 30 })).toEqual([[2, 3]]);
  });

  it('tells what each line stands at, though its host was read at another moment', () => {
    const { t, lines } = chartData({ from: 0, to: 1, series: [series('a', [1, 2, 3], { t: [0, 10, 20] }), series('b', [7, 8], { t: [4, 14] })] });
    expect(t).toEqual([0, 4, 10, 14, 20]);
    expect(lines.map((line) => standingAt(t, line, 2))).toEqual([2, 1]);
    expect(standingAt(t, lines[1]!, 0), 'nothing before').toBeNull();
    expect(standingAt(t, { ...lines[1]!, gap: 5 }, 4), 'too long ago').toBeNull();
  });

  it('follows: adds what is newer, drops what is too old', () => {
    const data = chartData(history([0, 10, 20], [series('a', [1, 2, 3]), series('b', [4, 5, 6])]));
    const after = appended(data, 30, new Map([['a', 9]]), 10);
    expect(after.t).toEqual([10, 20, 30]);
    expect(after.lines.map((line) => line.mean)).toEqual([[2, 3, 9], [5, 6, null]]);
    expect(appended(after, 30, new Map([['a', 7]]), 0), 'known already').toBe(after);
  });

  it('becomes a table for other programs', () => {
    const data = chartData(history([0], [series('nas/filesystem:a,"b"/used_ratio', [0.5])]));
    expect(csv(data).split('\n')).toEqual([
      'time,"nas/filesystem:a,""b""/used_ratio","nas/filesystem:a,""b""/used_ratio min","nas/filesystem:a,""b""/used_ratio max"',
      '1970-01-01T00:00:00.000Z,0.5,0.5,0.5',
      '',
    ]);
  });
});

describe('names of series', () => {
  const one = (host: string, name: string, field = 'used_ratio') => ({ host, kind: 'filesystem', name, field });

  it('tell only what differs', () => {
    expect(namesOf([one('nas', '/'), one('pi', '/')])).toEqual(['nas', 'pi']);
    expect(namesOf([one('nas', '/'), one('nas', '/tank')])).toEqual(['/', '/tank']);
    expect(namesOf([one('nas', '/')])).toEqual(['used']);
    expect(titleOf([one('nas', '/'), one('nas', '/tank')])).toBe('nas · filesystem · used');
  });

  it('share a chart by kind and unit', () => {
    const panels = panelsOf([one('nas', '/'), one('pi', '/'), one('nas', '/', 'used_bytes')], (_, field) => field.split('_')[1]!);
    expect(panels.map((panel) => panel.series.length)).toEqual([2, 1]);
  });
});
