// How things stand, ordered and in words. Shape and word say it, never colour alone.
import type { Host, Presence, Severity, Status } from './api/schema';
import { t } from './strings';

/** What a mark can show: a status, nothing judged, or nobody heard. */
export type Mark = Status | 'none' | 'offline' | 'late' | 'never' | 'info' | 'error';

const RANK: Record<Status, number> = { ok: 0, unknown: 1, warning: 2, critical: 3 };

/** Best first; what nothing judges is before all. */
export function rank(status: Status | null | undefined): number {
  return status ? RANK[status] : -1;
}

/** The worse of two. */
export function worse(a: Status | null, b: Status | null): Status | null {
  return rank(a) >= rank(b) ? a : b;
}

/** What a host's mark shows: that nobody hears it stands over how it was. */
export function hostMark(host: Pick<Host, 'presence' | 'status'>): Mark {
  if (host.presence === 'offline') return 'offline';
  // What others report of a host without an agent is judged all the same.
  if (host.presence === 'never') return host.status ?? 'never';
  if (host.presence === 'late' && rank(host.status) < RANK.warning) return 'late';
  return host.status ?? 'none';
}

const PRESENCE_RANK: Record<Presence, number> = { online: 0, never: 1, late: 2, offline: 3 };

/** How urgently a host wants to be looked at; the greatest first in lists. */
export function urgency(host: Pick<Host, 'presence' | 'status'>): number {
  return (rank(host.status) + 1) * 10 + PRESENCE_RANK[host.presence];
}

export function markWord(mark: Mark): string {
  return t.mark[mark];
}

export const SEVERITIES: Severity[] = ['info', 'warning', 'error', 'critical'];
export const STATUSES: Status[] = ['critical', 'warning', 'unknown', 'ok'];
