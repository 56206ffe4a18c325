import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { precompress } from './build/precompress.mjs';

export default defineConfig({
  // Relative, so that it works under any path of a reverse proxy.
  base: './',
  plugins: [svelte(), precompress()],
  build: {
    target: 'es2022',
    // Inline pictures would need a weaker Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    // For `npm run dev` beside a hub at its usual place.
    proxy: { '/api': { target: 'http://127.0.0.1:8420', ws: true } },
  },
  test: {
    include: ['src/**/*.test.ts', 'build/**/*.test.ts'],
    environment: 'node',
  },
});
