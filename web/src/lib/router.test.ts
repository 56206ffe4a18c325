import { describe, expect, it } from 'vitest';
import { routeOf } from './routes';
import { below, hostPath, href, queryText } from './router.svelte';

describe('paths', () => {
  it('are below the place that a proxy puts us at', () => {
    expect(below('/', '/hosts/nas')).toBe('/hosts/nas');
    expect(below('/tomte/', '/tomte/hosts/nas')).toBe('/hosts/nas');
    expect(below('/tomte/', '/tomte/')).toBe('/');
  });

  it('carry what is asked, without what is empty', () => {
    expect(queryText({ a: '1', b: '', c: ['x', 'y'], d: undefined })).toBe('?a=1&c=x&c=y');
    expect(href('/events', { host: 'a b' })).toBe('/events?host=a+b');
    expect(hostPath('a/b')).toBe('/hosts/a%2Fb');
  });

  it.each([
    ['/', 'overview', {}],
    ['/setup', 'overview', {}],
    ['/hosts/a%2Fb', 'host', { name: 'a/b' }],
    ['/hosts/%', 'host', { name: '%' }],
    ['/charts', 'charts', {}],
    ['/admin', 'admin', { part: 'hosts' }],
    ['/admin/tokens', 'admin', { part: 'tokens' }],
    ['/admin/nothing', 'missing', {}],
    ['/hosts', 'missing', {}],
    ['/a/b/c', 'missing', {}],
  ])('%s shows %s', (path, page, props) => expect(routeOf(path)).toMatchObject({ page, props }));
});
