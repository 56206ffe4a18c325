// The hub's API over HTTP. Errors are problems by RFC 9457, or the plain fact
// that the hub could not be reached.
import { hubUrl, queryText, type Query } from '../router.svelte';
import { t } from '../strings';
import type { Problem, Progress } from './schema';

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

interface Options {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
}

/** A good answer, not read yet; or throws an `ApiError`. */
async function answer(method: Method, path: string, options: Options): Promise<Response> {
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
  if (response.ok) return response;
  const problem = await readProblem(response);
  if (response.status === 401 && path !== 'login') signedOut();
  throw new ApiError(problem, inWords(problem));
}

/** Reads an answer, or throws an `ApiError`. */
export async function call<T>(method: Method, path: string, options: Options = {}): Promise<T> {
  const response = await answer(method, path, options);
  if (response.status === 204 || response.headers.get('content-length') === '0') return undefined as T;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** A line of the answer to long work. */
export type Step<T> = { progress: Progress } | { done: T } | { failed: Problem };

/** Has long work done, which says line by line how far it has come. */
export async function work<T>(path: string, progress: (so: Progress) => void): Promise<T> {
  const response = await answer('POST', path, {});
  let done: T | undefined;
  try {
    for await (const line of lines(response.body!)) {
      const step = JSON.parse(line) as Step<T>;
      if ('failed' in step) throw new ApiError(step.failed, inWords(step.failed));
      if ('done' in step) done = step.done;
      else progress(step.progress);
    }
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(null, t.errors.unreachable);
  }
  // The hub goes on by itself; only what came of it is not known.
  if (done === undefined) throw new ApiError(null, t.errors.unreachable);
  return done;
}

/** The lines of a stream, as they come. */
export async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value ?? '')).split('\n');
    rest = done ? '' : parts.pop()!;
    for (const part of parts) if (part) yield part;
    if (done) return;
  }
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
