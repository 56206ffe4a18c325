// Where the things of a long list stand, whose sizes are known: as many beside
// each other as there is room for, and which of them are in sight.

/** How much room a thing takes: its height, what is free below and beside it, how many such stand in a line. */
export interface Shape {
  height: number;
  gap: number;
  across: number;
}

export interface Places {
  tops: number[];
  /** Which of its line each is, from 0. */
  columns: number[];
  total: number;
}

/** Places things from top to bottom; one of another width begins a line. */
export function placed(shapes: Iterable<Shape>): Places {
  const places: Places = { tops: [], columns: [], total: 0 };
  let line: Shape | null = null;
  let column = 0;
  for (const shape of shapes) {
    column += 1;
    if (line === null || shape.across !== line.across || column >= line.across) {
      if (line !== null) places.total += line.height + line.gap;
      [line, column] = [shape, 0];
    }
    places.tops.push(places.total);
    places.columns.push(column);
  }
  if (line !== null) places.total += line.height;
  return places;
}

/** The first of those whose line is at a height, or above it and the last that begins there. */
function lineAt({ tops, columns }: Places, y: number): number {
  let low = 0;
  let high = tops.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (tops[middle]! <= y) low = middle;
    else high = middle - 1;
  }
  return low - (columns[low] ?? 0);
}

/** The things between two heights, whole lines of them: from one, up to another that is no longer. */
export function inSight(places: Places, top: number, bottom: number): { from: number; to: number } {
  const { tops } = places;
  const from = lineAt(places, top);
  let to = lineAt(places, bottom);
  const last = tops[to];
  while (to < tops.length && tops[to] === last) to += 1;
  return { from, to };
}
