import { describe, expect, it } from 'vitest';
import type { Host, LiveSnapshot, Resource } from '../api/schema';
import { host, resource } from '../examples';
import { applied } from './apply';
import { Sight } from './sight.svelte';

const snapshot = (hosts: Host[], resources: Resource[]): LiveSnapshot => ({ at: '2026-01-01T00:00:00Z', hosts, resources });

describe('what is seen', () => {
  it('is what a snapshot says, and forgets what is no longer in it', () => {
    const sight = new Sight();
    expect(sight.loaded).toBe(false);
    sight.replace(snapshot([host('nas'), host('pi')], [resource('nas', 'disk', 'sda'), resource('nas', 'disk', 'sdb')]));
    expect([...sight.hosts.keys()]).toEqual(['id-nas', 'id-pi']);
    const nas = sight.find('nas')!;
    sight.replace(snapshot([host('nas')], [resource('nas', 'disk', 'sdb')]));
    expect([...sight.hosts.keys()]).toEqual(['id-nas']);
    expect(sight.find('nas'), 'the same host is the same object').toBe(nas);
    expect(nas.of('disk').map(({ name }) => name)).toEqual(['sdb']);
  });

  it('follows deltas: changed, new, gone', () => {
    const sight = new Sight();
    sight.replace(snapshot([host('nas')], [resource('nas', 'cpu', 'cpu', { usage_ratio: 0.1, steal_ratio: 0 })]));
    sight.apply({
      at: '2026-01-01T00:00:10Z',
      hosts: [host('nas', { status: 'warning', reason: 'hot' }), host('pi')],
      resources: [
        { host_id: 'id-nas', kind: 'cpu', name: 'cpu', at: '2026-01-01T00:00:10Z', readings: { usage_ratio: 0.9, steal_ratio: null } },
        { host_id: 'id-pi', kind: 'cpu', name: 'cpu', at: '2026-01-01T00:00:10Z', readings: { usage_ratio: 0.2 } },
        { host_id: 'id-stranger', kind: 'cpu', name: 'cpu', at: '2026-01-01T00:00:10Z' },
      ],
    });
    expect(sight.find('nas')!.host.reason).toBe('hot');
    expect(sight.find('nas')!.only('cpu')!.readings).toEqual({ usage_ratio: 0.9 });
    expect(sight.find('pi')!.only('cpu')!.host).toBe('pi');
    sight.apply({ at: '2026-01-01T00:00:20Z', removed_hosts: ['id-pi'], removed: [{ host_id: 'id-nas', kind: 'cpu', name: 'cpu' }] });
    expect(sight.find('pi')).toBeUndefined();
    expect(sight.find('nas')!.kinds).toEqual([]);
  });

  it('finds a host by name first, then by alias', () => {
    const sight = new Sight();
    sight.replace(snapshot([host('old', { aliases: ['nas'] }), host('nas', { aliases: ['box'] })], []));
    expect(sight.find('nas')!.host.name).toBe('nas');
    expect(sight.find('box')!.host.name).toBe('nas');
    expect(sight.find('nothing')).toBeUndefined();
  });

  it('sorts names as people count', () => {
    const sight = new Sight();
    sight.replace(snapshot([host('pve')], ['vm10', 'vm9'].map((name) => resource('pve', 'guest', name))));
    expect(sight.find('pve')!.of('guest').map(({ name }) => name)).toEqual(['vm9', 'vm10']);
  });
});

describe('a delta', () => {
  it('leaves what it does not name, and never changes what was seen before', () => {
    const before = resource('nas', 'disk', 'sda', { a: 1, b: 2 });
    const after = applied(before, { host_id: 'id-nas', kind: 'disk', name: 'sda', at: 'later', readings: { a: 3, b: null }, standing: { status: null, reason: 'gone', problems: [], stale: true } }, 'nas');
    expect(after.readings).toEqual({ a: 3 });
    expect(after.attributes).toBe(before.attributes);
    expect([after.status, after.reason, after.stale]).toEqual([null, 'gone', true]);
    expect(before.readings).toEqual({ a: 1, b: 2 });
  });
});
