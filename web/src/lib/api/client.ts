// The hub's API over HTTP. Errors are problems by RFC 9457, or the plain fact
// that the hub could not be reached.
import { hubUrl, queryText, type Query } from '../router.svelte';
import { t } from '../strings';
import type { Problem } from './schema';

/** Why a request came to nothing. */
export class ApiError extends Error {
  constructor(
    readonly problem: Problem | null,
    message: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** The last part of the problem's type: `no-such-host`. */
  get code(): string {
    return this.problem?.type.replace(/^urn:tomte:problem:/, '') ?? 'unreachable';
  }

  get status(): number {
    return this.problem?.status ?? 0;
  }
}

/** Called when the hub says that nobody is signed in (any more). */
let signedOut = () => {};
export function onSignedOut(then: () => void) {
  signedOut = then;
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** Reads an answer, or throws an `ApiError`. */
export async function call<T>(method: Method, path: string, options: { query?: Query; body?: unknown; signal?: AbortSignal } = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(hubUrl(`api/v1/${path}`) + queryText(options.query ?? {}), {
      method,
      credentials: 'same-origin',
      headers: options.body === undefined ? {} : { 'content-type': 'application/json' },
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(null, t.errors.unreachable);
  }
  if (response.ok) {
    if (response.status === 204 || response.headers.get('content-length') === '0') return undefined as T;
    const text = await response.text();
    return (text ? JSON.parse(text) : undefined) as T;
  }
  const problem = await readProblem(response);
  if (response.status === 401 && path !== 'login') signedOut();
  throw new ApiError(problem, inWords(problem));
}

async function readProblem(response: Response): Promise<Problem> {
  try {
    const body = (await response.json()) as Partial<Problem>;
    if (typeof body.title === 'string' && typeof body.type === 'string') return { status: response.status, ...body } as Problem;
  } catch {
    // A proxy's page, not the hub's answer: below.
  }
  return { type: 'about:blank', title: t.errors.answered(response.status), status: response.status };
}

/** A problem as a sentence. */
export function inWords(problem: Problem): string {
  const detail = problem.detail ? `: ${problem.detail}` : '';
  const wait = problem.retry_after_seconds ? ` ${t.errors.tryIn(problem.retry_after_seconds)}` : '';
  return `${problem.title}${detail}.${wait}`.replace('..', '.');
}

export const get = <T>(path: string, query?: Query, signal?: AbortSignal) => call<T>('GET', path, { query, signal });
export const post = <T>(path: string, body?: unknown) => call<T>('POST', path, { body });
export const put = <T>(path: string, body: unknown) => call<T>('PUT', path, { body });
export const remove = (path: string) => call<void>('DELETE', path);

/** All pages of a list, up to a sane number of items. */
export async function all<T>(path: string, query: Query = {}, most = 20_000, signal?: AbortSignal): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null | undefined;
  do {
    const page: { items: T[]; next?: string | null } = await get(path, { limit: '1000', ...query, cursor }, signal);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < most);
  return items;
}

/** Words for whatever was thrown. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export const segment = encodeURIComponent;
