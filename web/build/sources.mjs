// What the UI is built from, as one number. The Rust build works out the same
// (crates/tomte-hub/build.rs) and says when web/dist is of other sources.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const WEB = fileURLToPath(new URL('..', import.meta.url));

/** FNV-1a over the names and contents of all sources, in the order of their names. */
export function fingerprint(root = WEB) {
  let hash = 0x811c9dc5;
  const add = (bytes) => {
    for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  };
  for (const path of sources(root)) {
    add(Buffer.from(path));
    add(readFileSync(join(root, path)));
  }
  return hash.toString(16).padStart(8, '0');
}

/** The paths, with slashes, from the folder `web`. What is generated from elsewhere is left out. */
export function sources(root = WEB) {
  const below = (folder) =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      return entry.isDirectory() ? below(path) : [path];
    });
  const own = (path) => !path.endsWith('.test.ts') && path !== 'src/lib/api/schema.ts';
  const all = ['index.html', 'package-lock.json', 'vite.config.ts', ...below('public'), ...below('src').filter(own)];
  return all.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}
