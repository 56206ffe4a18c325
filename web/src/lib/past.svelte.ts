// How things were at a past moment: states as the hub kept them, readings from
// their history.
import { all, get, segment, words } from './api/client';
import type { History, Host, Resource } from './api/schema';
import { parseSeries } from './chart/address';
import { Sight } from './live/sight.svelte';

/** The slowest collectors read every quarter of an hour; older readings do not count for a moment. */
const REACH = 16 * 60_000;
/** What the overview shows of each host. */
const OVERVIEW = { kind: ['cpu', 'memory', 'filesystem', 'sensor'], field: ['usage_ratio', 'used_ratio', 'temperature_celsius'] };

export interface Past {
  sight: Sight;
  trouble: string;
}

/** Reads how all hosts were, or one with all its resources. */
export async function readPast(at: number, host: string | null, signal: AbortSignal): Promise<Past> {
  const sight = new Sight();
  try {
    const moment = String(at);
    const range = { from: String(at - REACH), to: moment, step: String(REACH), fn: 'last' };
    if (host === null) {
      const hosts = await all<Host>('hosts', { at: moment }, undefined, signal);
      const history = hosts.length > 0 ? await get<History>('history', { ...OVERVIEW, ...range }, signal) : null;
      sight.replace({ at: new Date(at).toISOString(), hosts, resources: merged([], history, hosts) });
    } else {
      const path = `hosts/${segment(host)}`;
      const [one, resources, history] = await Promise.all([
        get<Host>(path, { at: moment }, signal),
        all<Resource>(`${path}/resources`, { at: moment }, undefined, signal),
        get<History>('history', { host, ...range }, signal),
      ]);
      sight.replace({ at: new Date(at).toISOString(), hosts: [one], resources: merged(resources, history, [one], false) });
    }
    return { sight, trouble: '' };
  } catch (error) {
    if (signal.aborted) throw error;
    return { sight, trouble: words(error) };
  }
}

/** Puts the last readings before the moment to the resources they are of. */
export function merged(resources: Resource[], history: History | null, hosts: Host[], make = true): Resource[] {
  const names = new Map(hosts.map((host) => [host.id, host.name]));
  const found = new Map(resources.map((one) => [`${one.host_id}/${one.kind}:${one.name}`, { ...one, readings: { ...one.readings } }]));
  for (const series of history?.series ?? []) {
    const parsed = parseSeries(series.key);
    const value = series.last?.findLast((one) => one !== null);
    const id = series.host_id ?? '';
    if (!parsed || value === null || value === undefined || !names.has(id)) continue;
    const key = `${id}/${parsed.kind}:${parsed.name}`;
    let resource = found.get(key);
    if (!resource && make) {
      resource = {
        host: names.get(id)!, host_id: id, kind: parsed.kind, name: parsed.name, status: null, reason: '',
        problems: [], stale: false, at: new Date(history!.to).toISOString(), facets: {}, attributes: {}, readings: {},
      };
      found.set(key, resource);
    }
    if (resource) resource.readings[parsed.field] ??= value;
  }
  return [...found.values()];
}
