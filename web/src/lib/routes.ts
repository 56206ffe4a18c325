// Which page a path shows.
import { t } from './strings';

export interface Route {
  page: 'overview' | 'host' | 'charts' | 'events' | 'actions' | 'admin' | 'missing';
  props: Record<string, string>;
  title: string;
}

export const ADMIN_PARTS = ['hosts', 'accounts', 'tokens', 'audit', 'store', 'config'] as const;
export type AdminPart = (typeof ADMIN_PARTS)[number];

export function routeOf(path: string): Route {
  const parts = path.split('/').filter(Boolean).map(decoded);
  const [first = '', second = ''] = parts;
  if (parts.length === 0 || first === 'login' || first === 'setup') return { page: 'overview', props: {}, title: '' };
  if (first === 'hosts' && parts.length === 2) return { page: 'host', props: { name: second }, title: second };
  if (first === 'charts' && parts.length === 1) return { page: 'charts', props: {}, title: t.nav.charts };
  if (first === 'events' && parts.length === 1) return { page: 'events', props: {}, title: t.nav.events };
  if (first === 'actions' && parts.length === 1) return { page: 'actions', props: {}, title: t.nav.actions };
  const part = ADMIN_PARTS.find((one) => one === (second || 'hosts'));
  if (first === 'admin' && part && parts.length <= 2) return { page: 'admin', props: { part }, title: t.admin.parts[part] };
  return { page: 'missing', props: {}, title: t.missing.title };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
