// A real hub with simulated hosts, and a real browser, for the tests beside it.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const ARTEFACTS = fileURLToPath(new URL('../../artefacts', import.meta.url));
const BINARIES = process.env.TOMTE_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug');
const BINARY = binary('tomte');
/** A folder of pages to look at in place of those in the program: a changed `dist` without building it anew. */
const PAGES = process.env.WEB_DIST;
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
/** How long a slow, busy machine may take; nothing is waited for that has come. */
const PATIENCE = 120_000;

export const ADMIN = { name: 'ada', password: 'correct horse' };

/** A hub with simulated hosts. */
export class Demo {
  url = '';
  link = '';
  #process: ChildProcess | undefined;
  #data = mkdtempSync(join(tmpdir(), 'tomte-web-'));

  constructor(private hosts: number) {}

  /** Starts it, at the same address as before if it was started before. */
  async start(): Promise<this> {
    const listen = this.url ? new URL(this.url).host : '127.0.0.1:0';
    // A shell's settings for another hub do not count.
    const { TOMTE_URL: _url, TOMTE_TOKEN: _token, ...env } = process.env;
    const args = ['demo', '--hosts', String(this.hosts), '--listen', listen, '--interval', '2s', '--data', this.#data];
    const child = spawn(BINARY, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    let said = '';
    let log = '';
    child.stderr.on('data', (bytes) => (log = (log + bytes).slice(-4_000)));
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the demo did not start:\n${said}${log}`)), PATIENCE);
      child.on('exit', (code) => reject(new Error(`the demo ended with ${code}:\n${log}`)));
      child.stdout.on('data', (bytes) => {
        said += bytes;
        const [, url] = /^Listening on (\S+)$/m.exec(said) ?? [];
        const [, link] = /works once: (\S+)\n/.exec(said) ?? [];
        // After there is an account no link is printed any more.
        if (url && (link || this.url)) {
          clearTimeout(timer);
          [this.url, this.link] = [url, link ?? ''];
          resolve();
        }
      });
    });
    return this;
  }

  /** Ends it: politely, or with SIGKILL as a power cut does. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM') {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.removeAllListeners('exit').once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  async end() {
    await this.stop();
    rmSync(this.#data, { recursive: true, force: true });
  }

  /** Asks the API as the admin, past the browser. */
  async api<T>(path: string, cookie: string): Promise<T> {
    const answer = await fetch(`${this.url}/api/v1/${path}`, { headers: { cookie } });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as T;
  }
}

function binary(name: string): string {
  const path = join(BINARIES, name);
  if (!existsSync(path)) throw new Error(`there is no ${path}: cargo build --package ${name} makes it`);
  return path;
}

/** A real agent that enrols with a code and reports, until the returned function is called. */
export async function agent(hub: string, code: string): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'tomte-agent-'));
  const config = join(folder, 'agent.toml');
  const run = (...args: string[]) => spawn(binary('tomte-agent'), [...args, '--config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  const over = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once('exit', resolve));
  const enrolling = run('enroll', hub, '--code', code);
  let said = '';
  enrolling.stderr.on('data', (bytes) => (said += bytes));
  if ((await over(enrolling)) !== 0) throw new Error(`the agent could not enrol: ${said}`);
  const running = run('run');
  running.stderr.resume();
  return async () => {
    const ended = over(running);
    running.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
}

/** The machine's Chromium, without anything that it does besides showing pages. */
export async function launch(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));
  if (!executablePath) throw new Error('there is no Chromium: scripts/test-setup.sh web installs it');
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      // A page that a test hands out counts as one from afar, and might not ask a hub on this machine.
      ...(PAGES ? ['--disable-features=LocalNetworkAccessChecks'] : []),
    ],
  });
}

/** A page that remembers what went wrong in it. */
export interface Watched {
  page: Page;
  /** Errors that are the page's own; that the hub was away, or asked for a sign-in, is none. */
  errors: string[];
}

export async function open(browser: Browser, options: Parameters<Browser['newContext']>[0] = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, colorScheme: 'light', ...options });
  if (PAGES) await handOut(context, PAGES);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(String(error.stack)));
  page.on('console', (message) => {
    const text = message.text();
    const away = /Failed to load resource|WebSocket connection to .* failed/.test(text);
    if (['error', 'warning'].includes(message.type()) && !away) errors.push(text);
  });
  return { page, errors };
}

const TYPES: Record<string, string> = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.png': 'image/png', '.webmanifest': 'application/manifest+json' };

/** Answers with a folder's files; with its index.html in what the hub says of its own. */
async function handOut(context: BrowserContext, folder: string) {
  await context.route(/^https?:\/\/127\.0\.0\.1:\d+\/(?!(.*\/)?api\/)/, async (route) => {
    const path = new URL(route.request().url()).pathname;
    const file = join(folder, /(assets|icons)\/[^/]+$|[^/]+\.webmanifest$/.exec(path)?.[0] ?? '');
    if (existsSync(file) && statSync(file).isFile()) return route.fulfill({ body: readFileSync(file), contentType: TYPES[extname(file)] ?? 'text/plain' });
    const response = await route.fetch();
    const base = /<base [^>]*>/.exec(await response.text())?.[0] ?? '';
    return route.fulfill({ response, body: readFileSync(join(folder, 'index.html'), 'utf8').replace(/<base [^>]*>/, base) });
  });
}

export async function signIn(page: Page, url: string, who = ADMIN) {
  await page.goto(url);
  await page.fill('input[name=username]', who.name);
  await page.fill('input[name=password]', who.password);
  await page.click('button.main');
  await page.waitForSelector('main h1');
}

/** Waits until every part of the page has what it asked for. */
export const settled = (page: Page) => page.waitForFunction(() => !document.querySelector('.notice.loading, [aria-busy=true]'));

/** What the page looks like, kept for people. */
export async function shot(page: Page, name: string, options: { fullPage?: boolean } = {}) {
  mkdirSync(ARTEFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTEFACTS, `${name}.png`), ...options });
}

/** A proxy that serves a hub below a path, and takes the path away. */
export async function proxy(target: string, prefix: string): Promise<{ url: string; close: () => void }> {
  const { hostname, port } = new URL(target);
  const server = createServer((incoming, outgoing) => {
    if (!incoming.url?.startsWith(prefix)) return void outgoing.writeHead(404).end();
    const path = incoming.url.slice(prefix.length - 1);
    const passed = ask({ hostname, port, path, method: incoming.method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on('error', () => outgoing.destroy());
    incoming.pipe(passed);
  });
  server.on('upgrade', (incoming, socket) => {
    const hub = connect(Number(port), hostname, () => {
      const headers = Object.entries(incoming.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
      hub.write(`GET ${incoming.url!.slice(prefix.length - 1)} HTTP/1.1\r\n${headers.join('')}\r\n`);
      hub.pipe(socket).pipe(hub);
    });
    for (const end of [hub, socket]) end.on('error', () => [hub, socket].forEach((one) => one.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${own}${prefix}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
