// The figures of the UI, measured in a real browser against a real hub, and
// printed beside what was promised: `page`, `memory` (MINUTES of live updates,
// 5) and `scrolling` (HOSTS, 500), each alone by `npm run figures -- -t NAME`.
import type { Browser, Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { firstPage } from '../../build/size.mjs';
import { ADMIN, Demo, launch, open } from '../browser/support';

const MINUTES = Number(process.env.MINUTES ?? 5);
const HOSTS = Number(process.env.HOSTS ?? 500);
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

it('scrolling', async () => {
  await measured(HOSTS, async (page, demo) => {
    await arrived(page, demo, HOSTS);
    for (const view of ['Cards', 'Rows']) {
      await page.getByRole('button', { name: view }).click();
      await page.locator(view === 'Rows' ? '.row-line' : '.card').first().waitFor();
      const tasks = await page.evaluate(async () => {
        const long: number[] = [];
        const observer = new PerformanceObserver((list) => long.push(...list.getEntries().map((entry) => entry.duration)));
        observer.observe({ entryTypes: ['longtask'] });
        const end = document.documentElement.scrollHeight;
        for (let y = 0; y < end; y += 120) {
          scrollTo(0, y);
          await new Promise(requestAnimationFrame);
        }
        await new Promise((resolve) => setTimeout(resolve, 200));
        observer.disconnect();
        scrollTo(0, 0);
        return long;
      });
      say(`${HOSTS} hosts as ${view.toLowerCase()}: tasks over 50 ms`, `${tasks.length}${tasks.length ? `, up to ${Math.max(...tasks).toFixed(0)} ms` : ''}`, 'none, while scrolling');
    }
  });
});
