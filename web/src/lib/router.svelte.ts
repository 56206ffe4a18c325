// Paths of this page's own, below whatever path the hub is served at: the hub
// tells by <base>, and nothing here begins with a slash of the server's.

const isBrowser = typeof document !== 'undefined';
const BASE = isBrowser ? new URL(document.baseURI).pathname.replace(/[^/]*$/, '') : '/';

export type Query = Record<string, string | string[] | undefined | null>;

/** The part of a browser's path below the base, with a leading slash. */
export function below(base: string, pathname: string): string {
  return pathname.startsWith(base) ? `/${pathname.slice(base.length)}` : '/';
}

/** A query string, without what is empty. */
export function queryText(query: Query): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== '') params.append(key, one);
    }
  }
  const text = params.toString();
  return text ? `?${text}` : '';
}

/** The address of a path of ours: `href('/hosts/nas', { at })`. */
export function href(path: string, query: Query = {}): string {
  return `${BASE}${path.replace(/^\//, '')}${queryText(query)}`;
}

/** The path of a host's page. */
export const hostPath = (name: string, part = '') => `/hosts/${encodeURIComponent(name)}${part}`;

/** The absolute address of something of the hub's: `api/v1/hosts`. */
export function hubUrl(path: string): string {
  return `${BASE}${path}`;
}

class Router {
  path = $state('/');
  query = $state.raw(new URLSearchParams());
  /** Grows with each page that is shown, so that focus can follow. */
  visits = $state(1);

  constructor() {
    if (!isBrowser) return;
    this.read();
    this.visits = 1;
    addEventListener('popstate', () => this.read());
  }

  private read() {
    const path = below(BASE, location.pathname);
    if (path !== this.path) this.visits += 1;
    this.path = path;
    this.query = new URLSearchParams(location.search);
  }

  /** Goes to an address made by `href`. */
  go(address: string, { replace = false } = {}) {
    const before = this.path;
    if (replace) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.read();
    if (before !== this.path) scrollTo(0, 0);
  }

  /** Changes some of the query, keeping the rest. */
  set(changes: Query, { replace = true } = {}) {
    const query: Query = {};
    for (const key of new Set(this.query.keys())) query[key] = this.query.getAll(key);
    this.go(href(this.path, { ...query, ...changes }), { replace });
  }

  get(key: string): string {
    return this.query.get(key) ?? '';
  }

  /** Follows links of ours without loading the page anew. */
  follow(event: MouseEvent) {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
    if (!link.pathname.startsWith(BASE) || link.pathname.startsWith(`${BASE}api/`)) return;
    if (link.hash && link.pathname === location.pathname && link.search === location.search) return;
    event.preventDefault();
    this.go(link.pathname + link.search + link.hash);
  }
}

export const router = new Router();
