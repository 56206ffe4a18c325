import { describe, expect, it } from 'vitest';
import { inSight, placed, type Shape } from './places';

const HEAD: Shape = { height: 40, gap: 0, across: 1 };
const CARD: Shape = { height: 90, gap: 10, across: 3 };
const cards = (count: number) => Array<Shape>(count).fill(CARD);

describe('a long list', () => {
  it('stands in lines, and a heading begins a new one', () => {
    const { tops, columns, total } = placed([HEAD, ...cards(4), HEAD, ...cards(1)]);
    expect(tops).toEqual([0, 40, 40, 40, 140, 240, 280]);
    expect(columns).toEqual([0, 0, 1, 2, 0, 0, 0]);
    expect(total, 'nothing is free below the last').toBe(370);
    expect(placed([])).toEqual({ tops: [], columns: [], total: 0 });
  });

  it('has whole lines in sight, and those alone', () => {
    const places = placed(cards(300));
    expect(inSight(places, -500, 50)).toEqual({ from: 0, to: 3 });
    expect(inSight(places, 250, 430)).toEqual({ from: 6, to: 15 });
    expect(inSight(places, 9_950, 20_000)).toEqual({ from: 297, to: 300 });
    expect(inSight(placed([]), 0, 100)).toEqual({ from: 0, to: 0 });
    expect(inSight(placed([HEAD]), 0, 100)).toEqual({ from: 0, to: 1 });
  });
});
