// Draws the icons that want pixels from the one that is lines, with the
// machine's Chromium. Run by hand when public/icons/tomte.svg changes.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ICONS = fileURLToPath(new URL('../public/icons', import.meta.url));
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const svg = readFileSync(`${ICONS}/tomte.svg`, 'utf8');

/** Size, share of the picture that the drawing fills, and what is behind it. */
const WANTED = [
  ['tomte-180.png', 180, 0.8, '#16171a'],
  ['tomte-192.png', 192, 0.92, 'transparent'],
  ['tomte-512.png', 512, 0.92, 'transparent'],
  ['tomte-maskable-512.png', 512, 0.62, '#16171a'],
];

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
for (const [name, size, share, ground] of WANTED) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  await page.setContent(
    `<style>body{margin:0;height:${size}px;display:grid;place-items:center;background:${ground}}svg{width:${size * share}px}</style>${svg}`,
  );
  await page.screenshot({ path: `${ICONS}/${name}`, omitBackground: true });
  await page.close();
}
await browser.close();
