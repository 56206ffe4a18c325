import { defineConfig } from 'vitest/config';

// Not among the tests: what is measured here depends on the machine.
export default defineConfig({
  test: {
    include: ['tests/figures/**/*.ts'],
    environment: 'node',
    fileParallelism: false,
    testTimeout: 2 * 3_600_000,
    hookTimeout: 300_000,
    silent: false,
    disableConsoleIntercept: true,
  },
});
