// The figures of the UI, measured in a real browser against a real hub, and
// printed beside what was promised: `page`, `memory` (MINUTES of live updates,
// 5) and `scrolling` (HOSTS, 500), each alone by `npm run figures -- -t NAME`.
// WEB_DIST=dist measures what was built last, whatever is in the program.
import type { Browser, Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { firstPage } from '../../build/size.mjs';
import { ADMIN, Demo, launch, open } from '../browser/support';

const MINUTES = Number(process.env.MINUTES ?? 5);
const HOSTS = Number(process.env.HOSTS ?? 500);
const ROUNDS = 3;
/** How long hundreds of hosts may take to come and to send their past. */
const PATIENCE = 1_200_000;

const say = (what: string, figure: string, promised: string) => console.log(`${what.padEnd(48)} ${figure.padStart(16)}   (${promised})`);
const median = (all: number[]) => [...all].sort((a, b) => a - b)[all.length >> 1] ?? NaN;

/** A hub with so many hosts, somebody signed in, and what is measured. */
async function measured(hosts: number, measure: (page: Page, demo: Demo) => Promise<void>) {
  const demo = await new Demo(hosts).start();
  let browser: Browser | undefined;
  try {
    browser = await launch();
    const { page } = await open(browser);
    await page.goto(demo.link);
    await page.getByLabel('Name').fill(ADMIN.name);
    await page.getByLabel('Password, at least 10 characters').fill(ADMIN.password);
    await page.getByLabel('The password again').fill(ADMIN.password);
    await page.getByRole('button', { name: 'Make the account' }).click();
    await page.locator('.card').first().waitFor({ timeout: PATIENCE });
    await measure(page, demo);
  } finally {
    await browser?.close();
    await demo.end();
  }
}

/** Waits until hosts are there and have sent their past: that is the hub's work, not the page's. */
async function arrived(page: Page, demo: Demo, count: number) {
  const cookie = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
  const waiting = async () => {
    const { items } = await demo.api<{ items: { backlog: number; presence: string }[] }>('hosts?limit=10000', cookie);
    const online = items.filter((host) => host.presence === 'online');
    // Some are offline now and then: that is their story.
    return Math.max(0, Math.floor(count * 0.9) - online.length) + online.filter((host) => host.backlog > 50).length;
  };
  await expect.poll(waiting, { timeout: PATIENCE, interval: 1_000 }).toBeLessThanOrEqual(0);
}

/** How old readings of a host's processors are when they come to the screen. */
function ages(page: Page): Promise<number[]> {
  return page.evaluate(
    () =>
      new Promise<number[]>((resolve) => {
        const found: number[] = [];
        const time = document.querySelector('#kind-cpu time')!;
        const observer = new MutationObserver(() => {
          found.push(Date.now() - Date.parse(time.getAttribute('datetime')!));
          if (found.length < 15) return;
          observer.disconnect();
          resolve(found);
        });
        observer.observe(time, { attributes: true, attributeFilter: ['datetime'] });
      }),
  );
}

/** Bytes of the heap that are in use after everything was collected that could be. */
async function heap(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  await session.detach();
  return usedSize;
}

it('page', async () => {
  const { brotli, gzip } = firstPage();
  say('first page, brotli / gzip', `${(brotli / 1000).toFixed(1)} / ${(gzip / 1000).toFixed(1)} kB`, 'at most 120 kB');
  await measured(12, async (page, demo) => {
    const told = async (when: string) => {
      await page.goto(`${demo.url}/hosts/nas-1`);
      await page.locator('#kind-cpu time').waitFor();
      const found = await ages(page);
      say(`from a reading to the screen${when}`, `${median(found).toFixed(0)} ms`, 'at most 2,000 ms');
      say('  the slowest of fifteen', `${Math.max(...found).toFixed(0)} ms`, 'at most 2,000 ms');
    };
    await told(', the past arriving');
    await arrived(page, demo, 12);
    await told('');
    const usable: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      await page.goto('about:blank');
      await page.goto(demo.url, { waitUntil: 'commit' });
      await page.locator('.card').first().waitFor();
      usable.push(await page.evaluate(() => performance.now()));
    }
    say('from address to hosts on the screen', `${median(usable).toFixed(0)} ms`, 'at most 1,000 ms');
  });
});

it('memory', async () => {
  await measured(12, async (page, demo) => {
    await arrived(page, demo, 12);
    await page.goto(`${demo.url}/hosts/nas-1`);
    await page.locator('#kind-cpu time').waitFor();
    const sizes = [await heap(page)];
    for (let part = 0; part < 6; part += 1) {
      await page.waitForTimeout((MINUTES * 60_000) / 6);
      sizes.push(await heap(page));
    }
    say(`heap over ${MINUTES} min of a host at one update/s`, sizes.map((size) => (size / 1e6).toFixed(1)).join(' ') + ' MB', 'flat');
  });
});

/** What the page's thread was busy with at a stretch, in milliseconds: by the clock, and as it was given a processor. */
interface Task {
  wall: number;
  own: number;
}

/** The tasks of a page's thread while something is done. Where the machine is busy, the clock tells of the others' work too. */
async function tasks(page: Page, doing: () => Promise<void>): Promise<Task[]> {
  interface Traced { name: string; ph: string; pid: number; tid: number; ts: number; dur: number; tdur?: number }
  const session = await page.context().newCDPSession(page);
  const traced: Traced[] = [];
  session.on('Tracing.dataCollected', ({ value }) => void traced.push(...(value as unknown as Traced[])));
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['toplevel', 'blink.user_timing'] } });
  await page.evaluate(() => void performance.mark('tomte-begins'));
  await doing();
  await page.evaluate(() => void performance.mark('tomte-ends'));
  const complete = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.end');
  await complete;
  await session.detach();
  const [begins, ends] = ['tomte-begins', 'tomte-ends'].map((mark) => traced.find(({ name }) => name === mark)!);
  return traced
    .filter(({ name, ph, pid, tid }) => name === 'ThreadControllerImpl::RunTask' && ph === 'X' && pid === begins!.pid && tid === begins!.tid)
    .filter(({ ts }) => ts >= begins!.ts && ts <= ends!.ts)
    .map(({ dur, tdur }) => ({ wall: dur / 1000, own: (tdur ?? dur) / 1000 }));
}

it('scrolling', async () => {
  await measured(HOSTS, async (page, demo) => {
    await arrived(page, demo, HOSTS);
    for (const view of ['Cards', 'Rows']) {
      await page.getByRole('button', { name: view }).click();
      await page.locator(view === 'Rows' ? '.row-line' : '.card').first().waitFor();
      for (let round = 0; round < ROUNDS; round += 1) {
        const found = await tasks(page, () =>
          page.evaluate(async () => {
            const end = document.documentElement.scrollHeight;
            for (let y = 0; y < end; y += 120) {
              scrollTo(0, y);
              await new Promise(requestAnimationFrame);
            }
            await new Promise((resolve) => setTimeout(resolve, 200));
          }),
        );
        await page.evaluate(() => scrollTo(0, 0));
        const most = (all: number[]) => `${Math.max(...all).toFixed(0)} ms`;
        const wall = found.map((task) => task.wall);
        const own = found.map((task) => task.own);
        const over = (all: number[]) => all.filter((millis) => millis > 50).length;
        say(`${HOSTS} hosts as ${view.toLowerCase()}: tasks over 50 ms`, `${over(wall)}, longest ${most(wall)}`, 'none, while scrolling');
        say('  over 50 ms of a processor, the page\'s own', `${over(own)}, longest ${most(own)}`, 'none');
      }
    }
  });
});
