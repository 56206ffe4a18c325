// Hosts and resources for tests to begin from; no part of the page.
import type { Host, Resource } from './api/schema';

export function host(name: string, more: Partial<Host> = {}): Host {
  return {
    id: `id-${name}`, name, aliases: [], roles: [], presence: 'online', status: 'ok', reason: '', problems: [],
    created_at: '2026-01-01T00:00:00Z', ...more,
  };
}

export function resource(on: string, kind: string, name: string, readings: Record<string, number> = {}): Resource {
  return {
    host: on, host_id: `id-${on}`, kind, name, status: 'ok', reason: '', problems: [], stale: false,
    at: '2026-01-01T00:00:00Z', facets: {}, attributes: {}, readings,
  };
}
