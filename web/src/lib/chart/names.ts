// What series are called beside each other: only what tells them apart.
import { label } from '../format';
import type { SeriesName } from './address';

export function namesOf(series: SeriesName[]): string[] {
  const differs = (part: keyof SeriesName) => new Set(series.map((one) => one[part])).size > 1;
  const parts = { host: differs('host'), kind: differs('kind'), name: differs('name'), field: differs('field') };
  return series.map((one) => {
    const words = [
      parts.host ? one.host : '',
      parts.kind ? label(one.kind) : '',
      // Where there is one for each host, its name says nothing.
      parts.name && one.name !== one.kind ? one.name : '',
      parts.field ? label(one.field) : '',
    ].filter(Boolean);
    return words.join(' ') || label(one.field);
  });
}

/** What they have in common, as a title. */
export function titleOf(series: SeriesName[]): string {
  const same = (part: keyof SeriesName) => (new Set(series.map((one) => one[part])).size === 1 ? series[0]![part] : '');
  const [host, kind, name, field] = [same('host'), same('kind'), same('name'), same('field')];
  return [host, kind ? label(kind) : '', name && name !== kind ? name : '', field ? label(field) : ''].filter(Boolean).join(' · ');
}

/** Series that belong into one chart: of one kind, in one unit. */
export function panelsOf(series: SeriesName[], unitOf: (kind: string, field: string) => string): { key: string; unit: string; series: SeriesName[] }[] {
  const panels = new Map<string, { key: string; unit: string; series: SeriesName[] }>();
  for (const one of series) {
    const unit = unitOf(one.kind, one.field);
    const key = `${one.kind} ${unit}`;
    const panel = panels.get(key) ?? { key, unit, series: [] };
    panel.series.push(one);
    panels.set(key, panel);
  }
  return [...panels.values()];
}
