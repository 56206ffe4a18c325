// What the overview shows of the fleet: filtered, sorted, grouped, counted.
import { untrack } from 'svelte';
import type { Host, Status } from './api/schema';
import { byName, type HostSight } from './live/sight.svelte';
import { rank, urgency } from './status';
import { t } from './strings';

/** What a host is filtered by; a host that nobody hears counts as such, besides its status. */
export type Standing = Status | 'offline' | 'none';

export function standingsOf(host: Pick<Host, 'presence' | 'status' | 'via'>): Standing[] {
  const standings: Standing[] = [host.status ?? 'none'];
  // For some hosts others report; they are never heard themselves.
  const through = host.presence === 'never' && (host.via?.length ?? 0) > 0;
  if (host.presence !== 'online' && !through) standings.push('offline');
  return standings;
}

export const SORTS = ['status', 'name', 'cpu', 'memory', 'disk', 'temperature'] as const;
export type Sort = (typeof SORTS)[number];

export interface Wanted {
  text: string;
  standings: string[];
  role: string;
  sort: Sort;
}

/** Whether a host is meant by words: each must be somewhere in what is known of it. */
export function matches(host: Host, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const all = [host.name, ...host.aliases, ...host.roles, host.id, host.reason, host.presence].join('\n').toLowerCase();
  return words.every((word) => all.includes(word));
}

/**
 * The hosts that are wanted, in the order that is wanted. How hosts stand is
 * followed; what they read is not, so that the caller says when to sort anew.
 */
export function selected(sights: Iterable<HostSight>, wanted: Wanted): HostSight[] {
  const list = [...sights].filter(
    ({ host }) =>
      matches(host, wanted.text) &&
      (wanted.standings.length === 0 || standingsOf(host).some((one) => wanted.standings.includes(one))) &&
      (!wanted.role || host.roles.includes(wanted.role)),
  );
  const names = (a: HostSight, b: HostSight) => byName(a.host.name, b.host.name);
  const value = (sight: HostSight): number => {
    if (wanted.sort === 'name') return 0;
    if (wanted.sort === 'status') return urgency(sight.host);
    const { cpu, memory, disk, temperature } = untrack(() => sight.summary);
    const by = { cpu, memory, disk: disk?.used, temperature: temperature?.celsius };
    return by[wanted.sort] ?? -273;
  };
  const keyed = list.map((sight) => ({ sight, value: value(sight) }));
  keyed.sort((a, b) => b.value - a.value || names(a.sight, b.sight));
  return keyed.map(({ sight }) => sight);
}

/** How many hosts stand how. */
export function counts(sights: Iterable<HostSight>): Record<Standing, number> {
  const count: Record<Standing, number> = { ok: 0, unknown: 0, warning: 0, critical: 0, offline: 0, none: 0 };
  for (const { host } of sights) for (const standing of standingsOf(host)) count[standing] += 1;
  return count;
}

/** All roles there are, by name. */
export function rolesOf(sights: Iterable<HostSight>): string[] {
  return [...new Set([...sights].flatMap(({ host }) => host.roles))].sort(byName);
}

export interface Group {
  name: string;
  worst: Status | null;
  sights: HostSight[];
}

/** The hosts by their first role, worst group first; those without one last. */
export function grouped(sights: HostSight[]): Group[] {
  const groups = new Map<string, HostSight[]>();
  for (const sight of sights) {
    const role = sight.host.roles[0] ?? '';
    groups.set(role, [...(groups.get(role) ?? []), sight]);
  }
  const made = [...groups].map(([role, members]) => ({
    role,
    name: role || t.overview.noRole,
    worst: members.map(({ host }) => host.status ?? null).reduce((a, b) => (rank(a) >= rank(b) ? a : b), null),
    sights: members,
  }));
  made.sort((a, b) => Number(a.role === '') - Number(b.role === '') || byName(a.role, b.role));
  return made.map(({ name, worst, sights: members }) => ({ name, worst, sights: members }));
}
