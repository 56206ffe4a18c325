// A view of charts as an address, so that a link reproduces it: which series,
// and of when.
import { href } from '../router.svelte';

export interface SeriesName {
  host: string;
  kind: string;
  name: string;
  field: string;
}

/** `HOST/KIND:NAME/FIELD`, as the API writes it. */
export const seriesText = (one: SeriesName): string => `${one.host}/${one.kind}:${one.name}/${one.field}`;

/** Reads it back. The name may hold slashes and colons: the host ends at the first slash, the field begins after the last. */
export function parseSeries(text: string): SeriesName | null {
  const match = /^([^/]+)\/([^:]+):(.*)\/([^/]+)$/s.exec(text);
  if (!match) return null;
  const [, host, kind, name, field] = match as unknown as [string, string, string, string, string];
  return name === '' ? null : { host, kind, name, field };
}

/** The page that charts some series. */
export function chartAddress(series: SeriesName[], range: { from?: string; to?: string } = {}): string {
  return href('/charts', { s: series.map(seriesText), ...range });
}
