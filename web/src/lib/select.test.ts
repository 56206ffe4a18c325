import { describe, expect, it } from 'vitest';
import type { Host } from './api/schema';
import { host, resource } from './examples';
import { HostSight } from './live/sight.svelte';
import { hostMark } from './status';
import { counts, grouped, matches, rolesOf, selected, type Wanted } from './select';

const sight = (one: Host, cpu?: number) => {
  const made = new HostSight(one);
  if (cpu !== undefined) made.put(resource(one.name, 'cpu', 'cpu', { usage_ratio: cpu }));
  return made;
};

const FLEET = [
  sight(host('web-10', { roles: ['web'] }), 0.5),
  sight(host('web-9', { roles: ['web'], status: 'warning', reason: 'a disk is slow' }), 0.1),
  sight(host('nas', { roles: ['storage', 'backup'], status: 'critical', reason: '/ is 97 % full' })),
  sight(host('pi', { presence: 'offline', status: 'ok' }), 0.9),
];

const wanted = (more: Partial<Wanted> = {}): Wanted => ({ text: '', standings: [], role: '', sort: 'status', ...more });
const names = (more: Partial<Wanted>) => selected(FLEET, wanted(more)).map((one) => one.host.name);

describe('the overview', () => {
  it('shows the worst first, then by name as people count', () => {
    expect(names({})).toEqual(['nas', 'web-9', 'pi', 'web-10']);
    expect(names({ sort: 'name' })).toEqual(['nas', 'pi', 'web-9', 'web-10']);
    expect(names({ sort: 'cpu' }), 'what is missing comes last').toEqual(['pi', 'web-10', 'web-9', 'nas']);
  });

  it('tells how a host is that others report for', () => {
    expect(hostMark(host('cluster', { presence: 'never', status: 'critical', via: ['id-nas'] }))).toBe('critical');
    expect(hostMark(host('new', { presence: 'never', status: null }))).toBe('never');
    expect(hostMark(host('gone', { presence: 'offline', status: 'critical' }))).toBe('offline');
  });

  it('filters by status, presence, role and words', () => {
    expect(names({ standings: ['critical', 'warning'] })).toEqual(['nas', 'web-9']);
    expect(names({ standings: ['offline'] })).toEqual(['pi']);
    expect(names({ role: 'web' })).toEqual(['web-9', 'web-10']);
    expect(names({ text: 'WEB slow' })).toEqual(['web-9']);
    expect(matches(host('nas', { aliases: ['tower'] }), 'tow')).toBe(true);
    expect(matches(host('nas'), 'nas nothing')).toBe(false);
  });

  it('counts an offline host as such besides its status', () => {
    expect(counts(FLEET)).toEqual({ ok: 2, unknown: 0, warning: 1, critical: 1, offline: 1, none: 0 });
  });

  it('groups by the first role, those without one last', () => {
    expect(rolesOf(FLEET)).toEqual(['backup', 'storage', 'web']);
    const groups = grouped(selected(FLEET, wanted()));
    expect(groups.map(({ name, worst, sights }) => [name, worst, sights.length])).toEqual([
      ['storage', 'critical', 1],
      ['web', 'warning', 2],
      ['without a role', 'ok', 1],
    ]);
  });

  it('sums a host up: the fullest file system, the warmest sensor', () => {
    const nas = sight(host('nas'), 0.25);
    nas.put(resource('nas', 'filesystem', '/', { used_ratio: 0.2 }));
    nas.put(resource('nas', 'filesystem', '/tank', { used_ratio: 0.8 }));
    nas.put(resource('nas', 'sensor', 'fan', { fan_rpm: 900 }));
    nas.put(resource('nas', 'sensor', 'package', { temperature_celsius: 51 }));
    expect(nas.summary).toEqual({
      cpu: 0.25,
      memory: undefined,
      disk: { name: '/tank', used: 0.8 },
      temperature: { name: 'package', celsius: 51 },
    });
  });
});
