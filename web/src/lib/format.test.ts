import { describe, expect, it } from 'vitest';
import { age, duration, exact, humanTimes, label, labels, plain, scalar, unitOfName, value } from './format';

describe('values', () => {
  it.each([
    [0.931, 'ratio', '93 %'],
    [0.0123, 'ratio', '1.2 %'],
    [0, 'ratio', '0 %'],
    [1288490188, 'bytes', '1.2 GiB'],
    [512, 'bytes', '512 B'],
    [1023.9 * 1024, 'bytes', '1.0 MiB'],
    [104857600, 'bytes', '100 MiB'],
    [7864320, 'bytes_per_second', '7.5 MiB/s'],
    [1.5, 'per_second', '1.5/s'],
    [45, 'celsius', '45.0 °C'],
    [2.4e9, 'hertz', '2.4 GHz'],
    [842.4, 'rpm', '842 rpm'],
    [12.34, 'watts', '12.3 W'],
    [3, 'number', '3'],
    [3.14159, 'number', '3.14'],
    [7, 'bananas', '7 bananas'],
  ])('%s %s is %s', (number, unit, written) => expect(value(number, unit)).toBe(written));

  it('has a dash for what is missing, never a zero', () => {
    for (const missing of [null, undefined, NaN, Infinity]) expect(value(missing, 'ratio')).toBe('–');
    expect(scalar('')).toBe('–');
    expect(scalar(false)).toBe('no');
  });

  it('sets thousands apart', () => {
    expect(plain(1234567)).toBe('1\u202f234\u202f567');
    expect(plain(-0.001)).toBe('0');
  });
});

describe('times', () => {
  it.each([
    [0, '0 s'],
    [0.0000042, '4 µs'],
    [0.0123, '12 ms'],
    [1.25, '1.3 s'],
    [59.9, '1 min'],
    [75, '1 min 15 s'],
    [7_260, '2 h 1 min'],
    [273_600, '3 d 4 h'],
    [-90, '-1 min 30 s'],
  ])('%s s is %s', (seconds, written) => expect(duration(seconds)).toBe(written));

  it('tells ages in one word', () => {
    expect([0, 59_400, 60_000, 3_600_000, 400_000_000].map(age)).toEqual(['0 s', '59 s', '1 min', '1 h', '4 d']);
    expect(age(-5_000), 'a clock that is ahead').toBe('0 s');
  });

  it('writes a moment in the viewer’s zone, and says when it is none', () => {
    const moment = new Date(2026, 2, 29, 14, 5, 9);
    expect(exact(moment.getTime())).toBe('2026-03-29 14:05:09');
    expect(exact('nonsense')).toBe('–');
    const said = `the last good one is of ${moment.toISOString()}, expected every 1 d`;
    expect(humanTimes(said)).toBe('the last good one is of 2026-03-29 14:05, expected every 1 d');
  });
});

describe('names', () => {
  it('are without their unit', () => {
    expect(label('read_bytes_per_second')).toBe('read');
    expect(label('some_avg10_ratio')).toBe('some avg10');
    expect(label('default_route')).toBe('default route');
    expect(label('ratio')).toBe('ratio');
  });

  it('differ where they stand beside each other', () => {
    expect([...labels(['used_ratio', 'used_bytes', 'size_bytes']).values()]).toEqual(['used %', 'used', 'size']);
  });

  it('tell a unit where nothing else does', () => {
    expect(unitOfName('resident_bytes')).toBe('bytes');
    expect(unitOfName('cpu_ratio')).toBe('ratio');
    expect(unitOfName('pid')).toBe('number');
    expect(unitOfName('errors_total')).toBe('number');
  });
});
