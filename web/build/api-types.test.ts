import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { render, typeOf } from './api-types.mjs';
import { sources } from './sources.mjs';

const document = JSON.parse(readFileSync(new URL('../../docs/reference/openapi.json', import.meta.url), 'utf8'));

describe('the API’s types', () => {
  it('say what the OpenAPI document says', () => {
    expect(typeOf({ type: ['integer', 'null'] })).toBe('number | null');
    expect(typeOf({ type: 'array', items: { enum: ['a', 'b'] } })).toBe('("a" | "b")[]');
    expect(typeOf({ type: 'object', additionalProperties: { $ref: '#/components/schemas/Page_Host' } })).toBe('Record<string, Page_Host>');
    expect(typeOf({ type: 'object', required: ['a'], properties: { a: { type: 'string' }, 'b-c': { type: 'boolean' } } })).toBe(
      '{\n  a: string;\n  "b-c"?: boolean;\n}',
    );
  });

  it('refuse what they do not understand', () => {
    expect(() => typeOf({ $ref: 'elsewhere.json' })).toThrow('elsewhere');
    expect(() => typeOf({ type: 'tuple' })).toThrow('tuple');
  });

  it('are those of the document that is there now', () => {
    expect(readFileSync(new URL('../src/lib/api/schema.ts', import.meta.url), 'utf8')).toBe(render(document));
  });
});

describe('the repository', () => {
  it('has what the UI is built from, all of it and nothing made', () => {
    const folder = fileURLToPath(new URL('..', import.meta.url));
    const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: folder, encoding: 'utf8' }).split('\n');
    expect(sources().filter((path: string) => !tracked.includes(path))).toEqual([]);
    expect(tracked.filter((path) => path.startsWith('dist/') || path.endsWith('schema.ts'))).toEqual([]);
  });

  it('names no registry in the lock file', () => {
    expect(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')).not.toMatch(/"resolved"/);
  });
});
