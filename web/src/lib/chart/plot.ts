// uPlot, set up for our data: axes in the units of the catalogue, bands between
// least and greatest, gaps, marks for events.
import uPlot from 'uplot';
import type { Event as HubEvent } from '../api/schema';
import { value as format } from '../format';
import { gapsOf, type ChartData } from './data';

export interface Look {
  unit: string;
  height: number;
  events: HubEvent[];
  /** The range that is shown, in milliseconds. */
  from: number;
  to: number;
  /** The name by which charts share a cursor. */
  together: string;
  onzoom(from: number, to: number): void;
  oncursor(index: number | null): void;
}

/** One of eight colours and, after those, another way to draw it. */
export function lineStyle(index: number): { color: string; dash: number[] } {
  const dashes = [[], [6, 4], [2, 3], [10, 3, 2, 3]];
  return { color: `--series-${(index % 8) + 1}`, dash: dashes[Math.floor(index / 8) % dashes.length]! };
}

/** What a custom property stands for now; a canvas knows no properties. */
export function colorOf(element: HTMLElement, property: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${property})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const faded = (color: string, alpha: number) => color.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);

/** Steps of axes by which bytes and times read well. */
function stepsOf(unit: string): number[] | undefined {
  if (unit.startsWith('bytes')) return Array.from({ length: 55 }, (_, power) => 2 ** power);
  if (unit === 'seconds') {
    const below = [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
    return [...below, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000, 31_536_000];
  }
  return undefined;
}

/** The columns in uPlot's order: times, then line, least and greatest of each. */
export function columns(data: ChartData): uPlot.AlignedData {
  return [data.t.map((time) => time / 1000), ...data.lines.flatMap((line) => [line.mean, line.min, line.max])] as uPlot.AlignedData;
}

/** How much higher than the greatest value an axis reaches. */
const AIR = 0.08;

export function options(host: HTMLElement, data: () => ChartData, look: () => Look, width: number): uPlot.Options {
  const { unit, height, together } = look();
  const colors = { ink: colorOf(host, '--ink-soft'), grid: colorOf(host, '--line') };
  const font = `12px ${getComputedStyle(host).fontFamily}`;
  const steps = stepsOf(unit);
  const lines = data().lines;
  return {
    width,
    height,
    legend: { show: false },
    padding: [10, 8, 0, 0],
    cursor: {
      drag: { x: true, y: false, setScale: false },
      sync: { key: together, setSeries: false },
      points: { size: 7 },
      y: false,
    },
    scales: {
      x: { time: true, range: () => [look().from / 1000, look().to / 1000] },
      y: {
        range: (_, least, greatest) => {
          if (least === null || greatest === null) return [0, 1];
          // From zero, unless all of it is far away from there (temperatures, clocks).
          const low = least >= 0 && (unit !== 'celsius' || least < (greatest - least) * 2) ? 0 : least - (greatest - least) * AIR;
          const high = greatest > low ? greatest + (greatest - low) * AIR : low + 1;
          return [low, unit === 'ratio' && greatest <= 1 ? Math.min(high, 1.02) : high];
        },
      },
    },
    axes: [
      {
        stroke: colors.ink,
        font,
        grid: { stroke: colors.grid, width: 1 },
        ticks: { stroke: colors.grid, width: 1, size: 4 },
        values: [
          [31_536_000, '{YYYY}', null, null, null, null, null, null, 1],
          [2_419_200, '{MMM}', '\n{YYYY}', null, null, null, null, null, 1],
          [86_400, '{D} {MMM}', '\n{YYYY}', null, null, null, null, null, 1],
          [3_600, '{HH}:{mm}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1],
          [60, '{HH}:{mm}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1],
          [1, '{HH}:{mm}:{ss}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1],
        ],
      },
      {
        stroke: colors.ink,
        font,
        size: 72,
        grid: { stroke: colors.grid, width: 1 },
        ticks: { show: false },
        values: (_, splits) => splits.map((split) => format(split, unit)),
        ...(steps ? { incrs: steps } : {}),
      },
    ],
    series: [
      {},
      ...lines.flatMap((_, index) => {
        const { color, dash } = lineStyle(index);
        const stroke = colorOf(host, color);
        const gaps: uPlot.Series.GapsRefiner = (plot) => {
          const now = data();
          const line = now.lines[index];
          if (!line) return [];
          return gapsOf(now.t, line).map(([a, b]) => [plot.valToPos(now.t[a]! / 1000, 'x', true), plot.valToPos(now.t[b]! / 1000, 'x', true)]);
        };
        // A few readings stand alone between gaps: as points, or they would not be seen.
        const points = { show: lines.length === 1 && data().t.length < 40, size: 4 };
        return [
          { stroke, width: 1.5, dash, gaps, points },
          { stroke: 'transparent', width: 0, gaps, points: { show: false } },
          { stroke: 'transparent', width: 0, gaps, points: { show: false } },
        ] satisfies uPlot.Series[];
      }),
    ],
    bands: lines.map((_, index) => ({
      series: [index * 3 + 3, index * 3 + 2] as [number, number],
      fill: faded(colorOf(host, lineStyle(index).color), 0.18),
    })),
    hooks: {
      setSelect: [
        (plot) => {
          const { left, width: wide } = plot.select;
          if (wide < 4) return;
          const from = plot.posToVal(left, 'x') * 1000;
          const to = plot.posToVal(left + wide, 'x') * 1000;
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          if (to - from >= 1000) look().onzoom(from, to);
        },
      ],
      setCursor: [(plot) => look().oncursor(plot.cursor.idx ?? null)],
      draw: [(plot) => drawEvents(plot, host, look().events)],
    },
  };
}

/** Each event as a line from top to bottom, with a shape at its foot that says how severe it is. */
function drawEvents(plot: uPlot, host: HTMLElement, events: HubEvent[]) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  for (const event of events) {
    const x = plot.valToPos(Date.parse(event.at) / 1000, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const color = colorOf(host, event.severity === 'info' ? '--offline' : event.severity === 'warning' ? '--warning' : '--critical');
    const foot = bbox.top + bbox.height;
    const size = 5 * ratio;
    ctx.strokeStyle = ctx.fillStyle = color;
    ctx.lineWidth = ratio;
    ctx.globalAlpha = 0.55;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, foot);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    ctx.beginPath();
    if (event.severity === 'info') ctx.arc(x, foot - size, size * 0.8, 0, 7);
    else if (event.severity === 'warning') {
      ctx.moveTo(x - size, foot);
      ctx.lineTo(x, foot - size * 2);
      ctx.lineTo(x + size, foot);
    } else ctx.rect(x - size, foot - size * 2, size * 2, size * 2);
    ctx.fill();
  }
  ctx.restore();
}
