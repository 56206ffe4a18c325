import { describe, expect, it } from 'vitest';
import { readSettings, writeSettings } from './settings';

describe('settings', () => {
  it('are lines, and come back as they were', () => {
    const values = { 'intervals.fast': '5s', 'process.top': 3, 'disk.devices': ['sda', 'sdb'], 'smart.enabled': false };
    const text = writeSettings(values);
    expect(text.split('\n')[0]).toBe('intervals.fast = "5s"');
    expect(readSettings(`# pushed\n\n${text}\n`)).toEqual({ values });
    expect(readSettings('')).toEqual({ values: {} });
  });

  it('say which line makes no sense', () => {
    expect(readSettings('process.top = 3\nintervals.fast = 5s')).toEqual({ trouble: 'Line 2: 5s is no value: texts stand in quotes' });
    for (const line of ['words', '= 3', 'key =']) expect(readSettings(line)).toEqual({ trouble: 'Line 1: a name, =, and a value are needed' });
  });
});
