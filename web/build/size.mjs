// How much a browser loads for the first page, compressed; fails when it is
// more than was promised.
import { readFileSync, statSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const LIMIT = 120_000;

/** The bytes of what index.html loads, and of what that imports at once, by encoding. */
export function firstPage(dist = DIST) {
  const html = readFileSync(join(dist, 'index.html'), 'utf8');
  const wanted = [...html.matchAll(/(?:src|href)="\.\/([^"]+\.(?:js|css|svg))"/g)].map((match) => match[1]);
  const seen = new Set(wanted);
  for (const path of wanted) {
    if (!path.endsWith('.js')) continue;
    const text = readFileSync(join(dist, path), 'utf8');
    // Static imports alone: pages that come when they are looked at do not count.
    for (const [, name] of text.matchAll(/(?:^|[;}\s])(?:import|export)[^'"();]*?from\s*["'`]\.\/([^"'`]+\.js)["'`]/g)) {
      const other = `assets/${name}`;
      if (!seen.has(other)) {
        seen.add(other);
        wanted.push(other);
      }
    }
  }
  const gzipped = gzipSync(html).length;
  const total = { brotli: gzipped, gzip: gzipped, plain: html.length, files: wanted };
  for (const path of wanted) {
    const of = (ending) => (existsSync(join(dist, path + ending)) ? statSync(join(dist, path + ending)).size : plain);
    const plain = statSync(join(dist, path)).size;
    total.plain += plain;
    total.brotli += of('.br');
    total.gzip += of('.gz');
  }
  return total;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { brotli, gzip, plain } = firstPage();
  const kb = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
  console.log(`first page: ${kb(brotli)} brotli, ${kb(gzip)} gzip (at most ${kb(LIMIT)}), ${kb(plain)} unpacked`);
  if (gzip > LIMIT) {
    console.error(`the first page is larger than ${kb(LIMIT)}: load more of it when it is looked at`);
    process.exit(1);
  }
}
