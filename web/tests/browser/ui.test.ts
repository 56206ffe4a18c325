// What people do with the UI, in a real browser against a real hub.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Action, Page_Event, Page_Host } from '../../src/lib/api/schema';
import { ADMIN, agent, Demo, launch, open, proxy, settled, shot, signIn, type Watched } from './support';

const HOSTS = 12;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let demo: Demo;
let browser: Browser;
let admin: Watched;
let page: Page;

beforeAll(async () => {
  [demo, browser] = await Promise.all([new Demo(HOSTS).start(), launch()]);
  admin = await open(browser, { acceptDownloads: true });
  page = admin.page;
});

afterAll(async () => {
  await browser?.close();
  await demo?.end();
});

/** Goes somewhere without loading the page anew, as links do. */
const visit = async (path: string) => {
  await page.goto(demo.url + path);
  await page.waitForSelector('main h1');
};

/** How many hosts the hub has: those of the demo, and what they report for. */
async function hosts(): Promise<number> {
  return (await demo.api<Page_Host>('hosts', await cookie())).items.length;
}

const cookie = async () => (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');

const cardOf = (name: string) => page.locator('.card', { has: page.getByRole('link', { name, exact: true }) });

describe('signing in', () => {
  it('makes the first account by the link that the hub printed, once', async () => {
    expect(demo.link).toContain('/setup#secret=');
    await page.goto(demo.link);
    await page.getByLabel('Name').fill(ADMIN.name);
    await page.getByLabel('Password, at least 10 characters').fill(ADMIN.password);
    await page.getByLabel('The password again').fill('something else');
    await shot(page, 'setup');
    await page.getByRole('button', { name: 'Make the account' }).click();
    await page.getByText('The two passwords differ.').waitFor();
    await page.getByLabel('The password again').fill(ADMIN.password);
    await page.getByRole('button', { name: 'Make the account' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    expect(page.url(), 'the secret is gone from the address').toBe(`${demo.url}/`);

    const other = await open(browser);
    await other.page.goto(demo.link);
    await other.page.getByLabel('Name').fill('eve');
    await other.page.getByLabel('Password, at least 10 characters').fill('eves password');
    await other.page.getByLabel('The password again').fill('eves password');
    await other.page.getByRole('button', { name: 'Make the account' }).click();
    await other.page.getByRole('alert').getByText('was used already').waitFor();
    await other.page.context().close();
  });

  it('signs out, refuses a wrong password, and leads back to where one was', async () => {
    await visit('/events');
    await page.getByRole('button', { name: `${ADMIN.name}: account` }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Name').fill(ADMIN.name);
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('the name or the password is wrong').waitFor();
    await shot(page, 'sign-in');
    await page.getByLabel('Password').fill(ADMIN.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Events' }).waitFor();
  });
});

describe('the overview', () => {
  it('shows every host, the worst first, and says what is wrong in words', async () => {
    await visit('/');
    await cardOf('nas-1').getByText('archive is DEGRADED').or(cardOf('nas-2').getByText('archive is DEGRADED')).first().waitFor();
    expect(await page.locator('.card').count()).toBe(await hosts());
    expect(await page.locator('.card').first().getByRole('img', { name: 'critical' }).count()).toBe(1);
    expect(await page.locator('.card').last().getByRole('img', { name: 'critical' }).count()).toBe(0);
    await shot(page, 'overview');
  });

  it('remembers rows, keeps filters in the address, and groups by role', async () => {
    await page.getByRole('button', { name: 'Rows' }).click();
    // With the dash: what is wrong elsewhere is matched too, and names a storage so.
    await page.getByRole('searchbox', { name: 'Filter' }).fill('nas-');
    await page.waitForURL('**/?q=nas-');
    expect(await page.locator('.row-line').count()).toBe(2);
    await page.reload();
    await page.locator('.row-line').first().waitFor();
    expect(await page.getByRole('button', { name: 'Rows' }).getAttribute('aria-pressed')).toBe('true');
    expect(await page.locator('.row-line').count()).toBe(2);
    await page.getByRole('searchbox', { name: 'Filter' }).fill('');
    await page.getByRole('button', { name: 'Group by role' }).click();
    await page.waitForURL('**/?group=role');
    await page.getByRole('heading', { name: 'nas 2' }).waitFor();
    await shot(page, 'overview-rows');
    const all = await page.locator('.row-line').count();
    await page.getByRole('button', { name: 'critical' }).click();
    await expect.poll(() => page.locator('.row-line').count()).toBeLessThan(all);
    await page.waitForURL('**/?group=role&status=critical');
    await page.getByRole('button', { name: 'Cards' }).click();
    await visit('/?q=nothing-is-called-so');
    await page.getByText('No host is like that.').waitFor();
  });

  it('follows what changes, without being asked', async () => {
    await visit('/');
    const gauge = cardOf('nas-1').getByRole('meter', { name: 'CPU' });
    await gauge.waitFor();
    const seen = new Set<string>();
    await expect.poll(async () => seen.add((await gauge.getAttribute('aria-valuetext')) ?? '').size).toBeGreaterThan(2);
  });
});

describe('the search', () => {
  it('finds hosts by name, and things by what is known of them, by keys alone', async () => {
    await visit('/');
    await page.keyboard.press('/');
    const box = page.getByRole('combobox', { name: 'Hosts, services' });
    await box.fill('nas-1');
    await page.locator('#hits').getByRole('option').first().waitFor();
    await shot(page, 'search');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'nas-1', level: 1 }).waitFor();

    await page.keyboard.press('Control+k');
    await box.fill('192.0.2.1');
    await page.getByRole('option', { name: /eth0.*nas-1/ }).click();
    await page.waitForURL(/\/hosts\/nas-1\?r=interface/);
    await page.getByRole('heading', { name: 'Network' }).waitFor();
  });
});

describe('a host', () => {
  it('has a section for each kind of thing it has, and none for what it has not', async () => {
    await visit('/hosts/nas-1');
    for (const section of ['Processors', 'Memory', 'File systems', 'Disks', 'Network', 'Sensors', 'Processes', 'Operating system']) {
      await page.getByRole('heading', { name: section, exact: false }).first().waitFor();
    }
    expect(await page.locator('#kind-gpu').count()).toBe(0);
    await page.getByText('/srv/tank').first().waitFor();
    await shot(page, 'host', { fullPage: true });
  });

  it('unfolds to everything that is known of a thing, with its age', async () => {
    await page.getByRole('button', { name: 'Everything about sda' }).click();
    await page.locator('.unfolded .parts').getByText('read by disk').waitFor();
  });

  it('is read once a second while somebody looks', async () => {
    const busy = page.locator('#kind-cpu .lead strong');
    const started = Date.now();
    const seen = new Set<string | null>();
    await expect.poll(async () => seen.add(await busy.textContent()).size, { interval: 50 }).toBeGreaterThan(4);
    console.info(`five different readings of a host's CPU in ${Date.now() - started} ms`);
  });

  it('that nobody knows is told so', async () => {
    await page.goto(`${demo.url}/hosts/nobody`);
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toContain('nobody');
  });
});

describe('charts', () => {
  it('open from any number, and zoom by dragging; the address reproduces the view', async () => {
    await visit('/hosts/pve-1');
    await page.locator('#kind-cpu').getByRole('link', { name: 'chart of usage ratio' }).first().click();
    await page.waitForURL(/\/charts\?s=pve-1/);
    const over = page.locator('.u-over').first();
    await over.waitFor();
    const box = (await over.boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.4, box.y + 60);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 70, { steps: 5 });
    await page.mouse.up();
    await page.waitForURL(/from=\d+&to=\d+/);
    const query = new URL(page.url()).searchParams;
    const minutes = (Number(query.get('to')) - Number(query.get('from'))) / 60_000;
    expect(minutes).toBeGreaterThan(14);
    expect(minutes).toBeLessThan(22);
    await page.reload();
    await page.locator('.u-over').first().waitFor();
    expect(await page.getByRole('button', { name: 'Live' }).getAttribute('aria-pressed')).toBe('false');
    await page.goBack();
    await page.getByRole('button', { name: 'Live' }).and(page.locator('[aria-pressed=true]')).waitFor();
  });

  it('overlay hosts, chosen by kind and field, and give a table to take along', async () => {
    await visit('/charts');
    await page.getByRole('combobox', { name: 'Kind' }).selectOption('memory');
    await page.getByRole('combobox', { name: 'Reading' }).selectOption('used_ratio');
    await page.getByLabel('Where').fill('nas');
    await page.getByRole('button', { name: 'Add all 2' }).click();
    await page.locator('.legend').getByText('nas-1').waitFor();
    await page.locator('.legend').getByText('nas-2').waitFor();
    await page.getByRole('combobox', { name: 'Kind' }).selectOption('cpu');
    await page.getByLabel('Where').fill('');
    await page.getByRole('button', { name: 'pve-1' }).click();
    await expect.poll(() => page.locator('.u-over').count()).toBe(2);
    await page.getByRole('button', { name: 'Add readings' }).click();
    await page.locator('.u-over').first().hover();
    await shot(page, 'charts');
    const downloading = page.waitForEvent('download');
    await page.getByRole('button', { name: /CSV of memory/ }).click();
    const lines = readFileSync((await (await downloading).path())!, 'utf8').trim().split('\n');
    expect(lines[0]).toContain('nas-2/memory:memory/used_ratio max');
    expect(lines.length).toBeGreaterThan(5);
  });

  it('share the cursor, mark events, and follow what is read', async () => {
    await visit('/charts?s=nas-1/cpu:cpu/usage_ratio&s=nas-1/memory:memory/used_ratio&from=-15m');
    const [first, second] = [page.locator('.panels section').nth(0), page.locator('.panels section').nth(1)];
    await second.locator('.u-over').waitFor();
    const last = first.locator('.legend strong').first();
    const seen = new Set<string>();
    await expect.poll(async () => seen.add((await last.textContent()) ?? '').size).toBeGreaterThan(2);
    const box = (await first.locator('.u-over').boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + 50);
    const moment = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/;
    await expect.poll(async () => (await second.locator('.when').textContent())?.match(moment)?.[0]).toBeTruthy();
    await page.mouse.move(0, 0);
    expect(await page.getByRole('button', { name: 'Events', exact: true }).getAttribute('aria-pressed')).toBe('true');
    await page.getByRole('button', { name: 'Events', exact: true }).click();
    await page.waitForURL(/marks=off/);
  });

  it('are moved through by keys', async () => {
    const chart = page.getByRole('application').first();
    await chart.focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    await page.locator('.legend .when').first().getByText(/^\s*\d{4}-\d\d-\d\d/).waitFor();
    await page.keyboard.press('+');
    await page.waitForURL(/from=\d+/);
  });
});

describe('back in time', () => {
  it('a slider shows any moment, and what has changed since', async () => {
    await visit('/');
    await page.locator('.card').first().waitFor();
    // A moment at which the hub had known its hosts for a while.
    await page.goto(`${demo.url}/?at=${Date.now() - 1_000}`);
    await page.locator('.card').first().waitFor();
    expect(await page.locator('.card').count()).toBe(await hosts());
    await cardOf('nas-1').getByRole('meter', { name: 'CPU' }).waitFor();
    await page.getByText(/changes? since|Nothing has changed since/).waitFor();
    await shot(page, 'back-in-time');
    await page.getByRole('link', { name: 'nas-1', exact: true }).click();
    await page.waitForURL(/hosts\/nas-1\?at=\d+/);
    await page.locator('#kind-cpu .lead strong').waitFor();
    // Before there was a hub, it knew nobody; and says so.
    await page.getByRole('slider').focus();
    await page.keyboard.press('Home');
    await page.getByText(/Nothing was known of it then|knew no hosts/).first().waitFor();
    await page.getByRole('button', { name: 'Now', exact: true }).click();
    await page.locator('#kind-cpu .lead strong').waitFor();
  });
});

describe('events', () => {
  it('are a timeline that is filtered in the address, and grows by itself', async () => {
    await visit('/events');
    await page.getByText('the host was enrolled').first().waitFor();
    await shot(page, 'events');
    await page.getByLabel('Host').selectOption('nas-1');
    await page.waitForURL('**/events?host=nas-1');
    await expect.poll(() => page.locator('.days li').count()).toBeLessThan(10);
    await page.getByLabel('Severity').selectOption('critical');
    await page.waitForURL('**/events?host=nas-1&severity=critical');
    await page.getByRole('searchbox', { name: 'Filter' }).fill('what nobody ever said');
    await page.getByText('Nothing like that has happened.').waitFor();
  });
});

describe('actions', () => {
  // Simulated hosts allow no commands, so here the hub's answers are made up.
  const soon = () => new Date(Date.now() + 240_000).toISOString();
  const filed = (id: string, rest: Partial<Action>): Action => ({
    id, host: 'nas-1', host_id: '1', kind: 'command', target: 'restart', arguments: ['nginx.service'],
    plan: { text: '/usr/bin/systemctl restart -- nginx.service\nas root, for 2 min at most', hash: `hash-of-${id}` },
    risk: 'guarded', state: 'pending', via: 'mqtt', request_id: id,
    created_at: new Date(Date.now() - 60_000).toISOString(), updated_at: new Date(Date.now() - 60_000).toISOString(),
    expires_at: soon(), history: [], result: null, ...rest,
  });
  const over = filed('over', {
    target: 'df', arguments: [], state: 'failed',
    history: [{ at: new Date(Date.now() - 50_000).toISOString(), to: 'approved', by: 'account:ada', reason: '' }],
    result: { exit_code: 1, output: 'df: no such file', truncated: false, duration_seconds: 0.1, error: 'it ended with 1', outcome_unknown: false },
  });

  it('that wait are decided by the plan that was shown; below stands what came of the others', async () => {
    const items = [filed('first', {}), filed('second', { risk: 'dangerous', arguments: ['postgresql.service'] }), over];
    const decided: { path: string; body: unknown }[] = [];
    await page.route(/\/api\/v1\/actions/, async (route) => {
      const request = route.request();
      if (request.method() === 'POST') {
        const path = new URL(request.url()).pathname;
        decided.push({ path, body: request.postDataJSON() });
        const item = items.find((one) => path.includes(`/${one.id}/`))!;
        item.state = path.endsWith('approve') ? 'approved' : 'rejected';
        await route.fulfill({ json: item });
      } else {
        await route.fulfill({ json: { items, next: null } });
      }
    });
    try {
      await visit('/actions');
      const waiting = page.locator('.waits');
      await waiting.first().waitFor();
      expect(await waiting.count()).toBe(2);
      expect(await waiting.first().locator('pre').textContent()).toContain('systemctl restart');
      await shot(page, 'actions');
      await waiting.first().getByRole('button', { name: 'Approve' }).click();
      const dialog = page.getByRole('dialog');
      expect(await dialog.locator('pre').textContent()).toContain('systemctl restart');
      await dialog.getByRole('button', { name: 'Approve' }).click();
      await dialog.waitFor({ state: 'detached' });
      await expect.poll(() => waiting.count()).toBe(1);
      await waiting.first().getByRole('button', { name: 'Reject' }).click();
      await dialog.getByLabel('Why').fill('not now');
      await dialog.getByRole('button', { name: 'Reject' }).click();
      await expect.poll(() => waiting.count()).toBe(0);
      expect(decided).toEqual([
        { path: '/api/v1/actions/first/approve', body: { plan_hash: 'hash-of-first' } },
        { path: '/api/v1/actions/second/reject', body: { plan_hash: 'hash-of-second', reason: 'not now' } },
      ]);
      await page.locator('summary', { hasText: 'df' }).click();
      await page.getByText('df: no such file').waitFor();
      await page.getByText('account:ada').waitFor();
    } finally {
      await page.unroute(/\/api\/v1\/actions/);
    }
  });
});

describe('managing', () => {
  it('adds a host by one line that is shown once, and counts down', async () => {
    await visit('/admin/hosts');
    await page.getByRole('button', { name: 'Add a host' }).click();
    await page.getByLabel('Name: letters').fill('newcomer');
    await page.getByLabel('Roles, with blanks').fill('web edge');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    const line = page.getByRole('region', { name: 'The line to paste' });
    await line.waitFor();
    expect(await line.textContent()).toMatch(/tomte-agent enroll .* --code \S{40,}/);
    await page.getByRole('timer').getByText(/^(9:\d\d|10:00)$/).waitFor();
    await shot(page, 'add-host');

    // As somebody does who pastes it.
    const words = (await line.textContent())!.split(' ');
    const leave = await agent(words[2]!, words[words.indexOf('--code') + 1]!);
    await page.getByText('It is here:').waitFor();
    expect(await line.count(), 'the code is not shown again').toBe(0);
    await page.keyboard.press('Escape');
    const row = page.getByRole('row', { name: /newcomer/ });
    await row.getByText('edge, web').waitFor();
    await leave();

    await row.locator('summary').click();
    await row.getByRole('button', { name: 'Rename' }).click();
    await page.getByLabel('Name: letters').fill('old-timer');
    await page.getByRole('button', { name: 'Rename' }).last().click();
    const renamed = page.getByRole('row', { name: /old-timer/ });
    await renamed.getByText('newcomer').waitFor();
    await renamed.locator('summary').click();
    await renamed.getByRole('button', { name: 'Remove', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await renamed.waitFor({ state: 'detached' });
  });

  it('makes accounts and tokens, and tells who did what', async () => {
    await visit('/admin/accounts');
    await page.getByRole('button', { name: 'Add an account' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('vera');
    await page.getByLabel('Password, at least 10 characters').fill('vera may look');
    await page.getByRole('dialog').getByRole('button', { name: 'Add an account' }).click();
    await page.getByRole('row', { name: /vera viewer/ }).waitFor();

    await visit('/admin/tokens');
    await page.getByRole('button', { name: 'Make a token' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('script');
    await page.getByRole('dialog').getByRole('button', { name: 'Make a token' }).click();
    expect(await page.getByRole('region', { name: 'The token' }).textContent()).toMatch(/^tomte_/);
    await page.keyboard.press('Escape');
    await page.getByRole('row', { name: /script/ }).waitFor();

    await visit('/admin/audit');
    await page.getByText('user.add').first().waitFor();
    await page.getByText('token.add').first().waitFor();
    await visit('/admin/config');
    await page.getByText('listen', { exact: true }).waitFor();
    await shot(page, 'admin-config');
  });

  it('lets a host report for others, and pushes settings to it', async () => {
    await visit('/admin/hosts');
    // One that is in no cluster, for which it would report already.
    const choose = async (what: string) => {
      const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'media-1', exact: true }) });
      await row.locator('summary').click();
      await row.getByRole('button', { name: what }).click();
    };
    await choose('Reports for others');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('It reports for itself alone.').waitFor();
    await dialog.getByLabel('Host').fill('switch');
    await dialog.getByRole('button', { name: 'Add' }).click();
    await dialog.getByRole('link', { name: 'switch' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('row', { name: /switch/ }).getByText('through media-1').waitFor();
    await choose('Reports for others');
    await dialog.getByRole('button', { name: 'No longer let it report for switch' }).click();
    await dialog.getByText('It reports for itself alone.').waitFor();
    await page.keyboard.press('Escape');

    await choose('Settings');
    await dialog.getByLabel('Settings').fill('intervals.fast = 5s');
    await dialog.getByRole('button', { name: 'Push' }).click();
    await dialog.getByText('Line 1: 5s is no value: texts stand in quotes').waitFor();
    await dialog.getByLabel('Settings').fill('intervals.fast = "5s"');
    await dialog.getByRole('button', { name: 'Push' }).click();
    await dialog.getByText('a simulated host has no settings').waitFor();
    await shot(page, 'host-settings');
    await page.keyboard.press('Escape');
  });

  it('tells what is stored where, and looks after it', async () => {
    await visit('/admin/store');
    await page.getByRole('row', { name: /^Every reading/ }).waitFor();
    await page.getByRole('button', { name: 'Compact' }).click();
    await page.getByText('were given back.').waitFor();
    await page.getByRole('button', { name: 'Check' }).click();
    await page.getByText('all are sound.').waitFor();
    await expect.poll(async () => page.getByRole('row', { name: /^Every reading/ }).textContent()).toMatch(/[1-9]/);
    await shot(page, 'admin-store', { fullPage: true });
  });

  it('is not offered to those who may only look', async () => {
    const viewer = await open(browser);
    await signIn(viewer.page, demo.url, { name: 'vera', password: 'vera may look' });
    await viewer.page.locator('.card').first().waitFor();
    expect(await viewer.page.getByRole('link', { name: 'Admin' }).count()).toBe(0);
    await viewer.page.goto(`${demo.url}/hosts/nas-1`);
    await viewer.page.getByRole('heading', { name: 'nas-1', level: 1 }).waitFor();
    expect(await viewer.page.getByRole('button', { name: 'Read now' }).count()).toBe(0);
    await viewer.page.goto(`${demo.url}/admin/hosts`);
    await viewer.page.getByText('Only admins may see this.').waitFor();
    expect(viewer.errors).toEqual([]);
    await viewer.page.context().close();
  });
});

describe('without a mouse', () => {
  afterAll(() => page.evaluate(() => localStorage.clear()));

  it('one gets everywhere', async () => {
    await visit('/');
    await page.locator('.card').first().waitFor();
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('main');
    const reach = async (name: RegExp) => {
      for (let step = 0; step < 60; step += 1) {
        await page.keyboard.press('Tab');
        const label = await page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? '');
        if (name.test(label.trim())) return;
      }
      throw new Error(`Tab never came to ${name}`);
    };
    await reach(/^Rows$/);
    await page.keyboard.press('Space');
    await page.locator('.row-line').first().waitFor();
    await reach(/^nas-2$/);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'nas-2', level: 1 }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.id), 'the focus comes along').toBe('main');
    await reach(/^Charts$/);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/charts\?/);
  });
});

describe('for everybody', () => {
  const PAGES = ['/', '/?group=role', '/hosts/nas-1', '/charts?s=nas-1/cpu:cpu/usage_ratio', '/events', '/actions', '/admin/hosts', '/admin/accounts', '/admin/tokens', '/admin/audit', '/admin/store', '/admin/config', '/nowhere'];

  /** What axe finds wrong, in short. */
  async function complaints(): Promise<string[]> {
    const found = await page.evaluate(async (source) => {
      if (!('axe' in window)) new Function(source)();
      const { violations } = await (window as unknown as { axe: { run: (o: object) => Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> } }).axe.run({
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      });
      return violations.flatMap(({ id, nodes }) => nodes.slice(0, 3).map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
    }, axe);
    return found;
  }

  for (const scheme of ['light', 'dark'] as const) {
    it(`axe finds nothing, ${scheme}`, async () => {
      // axe is no part of the page, whose policy would not let it in.
      const context = await browser.newContext({ bypassCSP: true, colorScheme: scheme, viewport: { width: 1360, height: 900 }, storageState: await page.context().storageState() });
      const before = page;
      page = await context.newPage();
      try {
        for (const path of PAGES) {
          await visit(path);
          await settled(page);
          expect(await complaints(), path).toEqual([]);
        }
        await visit('/admin/hosts');
        await page.getByRole('button', { name: 'Add a host' }).click();
        expect(await complaints(), 'a dialog').toEqual([]);
        await visit('/');
        await page.keyboard.press('/');
        await page.getByRole('combobox', { name: 'Hosts, services' }).fill('nas');
        await page.locator('#hits').getByRole('option').first().waitFor();
        expect(await complaints(), 'the search').toEqual([]);
        await page.keyboard.press('Escape');
        await shot(page, `overview-${scheme}`);
        await visit('/hosts/nas-1');
        await page.locator('#kind-disk').waitFor();
        await shot(page, `host-${scheme}`);
      } finally {
        page = before;
        await context.close();
      }
    });
  }

  it('it fits a phone: nothing sticks out, and the ways are at hand', async () => {
    const context = await browser.newContext({ viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark', storageState: await page.context().storageState() });
    const before = page;
    page = await context.newPage();
    try {
      for (const path of PAGES) {
        await visit(path);
        await settled(page);
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        await shot(page, `phone-${path.replace(/\W+/g, '-').replace(/^-|-$/g, '') || 'overview'}`);
        expect(wider, path).toBeLessThanOrEqual(0);
      }
      await page.getByRole('link', { name: 'Events' }).tap();
      await page.getByRole('heading', { name: 'Events' }).waitFor();
    } finally {
      page = before;
      await context.close();
    }
  });

  it('it is an app that can be installed', async () => {
    await visit('/hosts/nas-1');
    const session = await page.context().newCDPSession(page);
    const { errors, data } = (await session.send('Page.getAppManifest')) as { errors: unknown[]; data?: string };
    expect(errors).toEqual([]);
    const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
    // A window of a test is like a private one; that alone stands in the way.
    expect(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito')).toEqual([]);
    await session.detach();
    for (const icon of JSON.parse(data ?? '{}').icons as { src: string; sizes: string; type: string }[]) {
      const answer = await fetch(new URL(icon.src, `${demo.url}/`));
      expect([answer.status, answer.headers.get('content-type')], icon.src).toEqual([200, icon.type]);
      if (icon.type !== 'image/png') continue;
      const png = Buffer.from(await answer.arrayBuffer());
      expect(`${png.readUInt32BE(16)}x${png.readUInt32BE(20)}`, icon.src).toBe(icon.sizes);
    }
  });

  it('it sends the headers that keep others out', async () => {
    const { headers } = await fetch(`${demo.url}/hosts/nas-1`);
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|data:|\*|https?:/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toMatch(/no-referrer|same-origin/);
  });

  it('it works below a path of a proxy', async () => {
    const below = await proxy(demo.url, '/watch/tomte/');
    const through = await open(browser);
    await signIn(through.page, `${below.url}hosts/nas-1`);
    await through.page.getByRole('heading', { name: 'nas-1', level: 1 }).waitFor();
    await through.page.locator('#kind-cpu').waitFor();
    await through.page.getByRole('link', { name: 'Overview' }).click();
    await through.page.waitForURL(below.url);
    await through.page.locator('.card').first().waitFor();
    expect(through.errors).toEqual([]);
    await through.page.context().close();
    below.close();
  });
});

describe('when the hub is away', () => {
  it('what is known stays, and grows old; when it is back, the page catches up', async () => {
    await visit('/');
    await page.locator('.card').first().waitFor();
    const known = await hosts();
    await demo.stop('SIGKILL');
    await page.getByText('The hub has not been heard for').waitFor();
    expect(await page.locator('.card').count()).toBe(known);
    await shot(page, 'hub-away');
    await demo.start();
    await page.getByText('The hub has not been heard for').waitFor({ state: 'detached' });
    const { items } = await demo.api<Page_Event>('events?limit=1', await cookie());
    expect(items.length).toBe(1);
    const gauge = cardOf('nas-1').getByRole('meter', { name: 'CPU' });
    const seen = new Set<string | null>();
    await expect.poll(async () => seen.add(await gauge.getAttribute('aria-valuetext')).size).toBeGreaterThan(1);
  });
});

it('the page itself had no errors, and broke no policy', () => {
  expect(admin.errors).toEqual([]);
});
