// Ranges of time: `-6h` up to now, or two exact moments; and the steps that fit.

/** As the address has it: relative (`-6h`) up to now, or milliseconds since 1970. */
export interface Range {
  from: string;
  to: string;
}

export const PRESETS = ['-15m', '-1h', '-6h', '-24h', '-7d', '-30d', '-90d', '-1y'] as const;
export const USUAL: Range = { from: '-1h', to: 'now' };

const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_536_000_000 };

/** A relative time's distance from now, in milliseconds: `-6h`. */
export function relative(text: string): number | null {
  const match = /^-(\d+)([smhdwy])$/.exec(text);
  return match ? Number(match[1]) * UNITS[match[2]!]! : null;
}

/** The moments that a range means now, or null where it makes no sense. */
export function resolve(range: Range, now: number): { from: number; to: number; live: boolean } | null {
  const moment = (text: string) => {
    if (text === 'now') return now;
    const back = relative(text);
    if (back !== null) return now - back;
    const exact = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
    return Number.isFinite(exact) ? exact : null;
  };
  const [from, to] = [moment(range.from), moment(range.to)];
  if (from === null || to === null || from >= to) return null;
  return { from, to, live: range.to === 'now' };
}

const STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800,
].map((seconds) => seconds * 1000);

/** The step, in milliseconds, at which a range fills so many points at most. */
export function stepFor(span: number, points: number): number {
  return STEPS.find((step) => span / step <= points) ?? STEPS[STEPS.length - 1]!;
}

/** A range that was chosen on a chart, in whole steps of the screen. */
export function chosen(from: number, to: number): Range {
  return { from: String(Math.round(from)), to: String(Math.round(to)) };
}

/** The range before or after, by half of it; up to now is where it ends. */
export function moved(range: { from: number; to: number }, by: -1 | 1, now: number): Range {
  const span = range.to - range.from;
  const to = Math.min(now, range.to + (by * span) / 2);
  return chosen(to - span, to);
}

/** Wider around the middle. */
export function widened(range: { from: number; to: number }, now: number): Range {
  const span = range.to - range.from;
  return chosen(range.from - span / 2, Math.min(now, range.to + span / 2));
}
