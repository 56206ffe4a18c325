import { describe, expect, it } from 'vitest';
import type { Kind } from './api/schema';
import { calledOf, columnsOf, inOrder, readingsOf, reasonOf, viewOf } from './kinds';
import { resource } from './examples';

const field = (name: string) => ({ name }) as Kind['fields'][number];
const kind = (fields: string[]) => ({ name: 'stove', fields: fields.map(field), attributes: [], tables: [] }) as unknown as Kind;

describe('kinds', () => {
  it('that nobody here knows are shown by what the catalogue says', () => {
    const stove = resource('hut', 'stove', 'left', { heat_celsius: 200, wood_bytes: 3, extra: 1 });
    expect(viewOf('stove', [stove])).toMatchObject({ title: 'Stove', shape: 'list' });
    expect(viewOf('stove', [resource('hut', 'stove', 'stove')]).shape).toBe('facts');
    expect(columnsOf(viewOf('stove'), kind(['wood_bytes', 'smoke', 'heat_celsius']), [stove])).toEqual(['wood_bytes', 'heat_celsius', 'extra']);
    expect(readingsOf(undefined, stove)).toEqual(['heat_celsius', 'wood_bytes', 'extra']);
  });

  it('stand in an order: what is about the agent last, what is unknown before', () => {
    expect(inOrder(['agent', 'stove', 'disk', 'cpu', 'tmpfs'])).toEqual(['cpu', 'disk', 'stove', 'tmpfs', 'agent']);
  });

  it('show columns that some resource has, and the name that people use', () => {
    const disk = { ...resource('nas', 'disk', '0x5000', { size_bytes: 1, serial_errors: 2 }), attributes: { device: 'sda' } };
    expect(columnsOf(viewOf('disk'), undefined, [disk])).toEqual(['size_bytes']);
    expect(calledOf(viewOf('disk'), disk)).toBe('sda');
    expect(calledOf(viewOf('disk'), resource('nas', 'disk', '0x5000'))).toBe('0x5000');
    expect(reasonOf(viewOf('disk'), { ...disk, reason: '0x5000 has used 87 % of its endurance' })).toBe('sda has used 87 % of its endurance');
  });
});
