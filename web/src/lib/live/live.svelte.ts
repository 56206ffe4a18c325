// The connection as the page uses it: its state to show, the whole fleet always
// watched, single hosts while they are looked at.
import { hubUrl } from '../router.svelte';
import { clock } from '../clock.svelte';
import type { Event as HubEvent, Subscribe } from '../api/schema';
import { Connection, type Listener, type LinkState, type Socket } from './connection';
import { Sight } from './sight.svelte';

/** What the overview shows of each host; kinds that a host lacks cost nothing. */
const OVERVIEW: Partial<Subscribe> = {
  kinds: ['cpu', 'memory', 'filesystem', 'sensor'],
  fields: ['usage_ratio', 'used_ratio', 'temperature_celsius'],
  every_s: 1,
};

class Live {
  state = $state<LinkState>('idle');
  /** When the next try is due, by the browser's clock. */
  retryAt = $state<number | null>(null);
  /** Since when the hub is not heard, by the browser's clock. */
  lostAt = $state<number | null>(null);
  fleet = new Sight();

  #heard = new Set<(event: HubEvent) => void>();
  #missed = new Set<() => void>();
  #count = 0;
  #refused = () => {};
  #connection = new Connection({
    open: () => new WebSocket(socketUrl()) as unknown as Socket,
    probe,
    setTimeout: (then, millis) => setTimeout(then, millis),
    clearTimeout: (timer) => clearTimeout(timer as number),
    random: Math.random,
    now: Date.now,
    changed: (state, retryAt) => this.#changed(state, retryAt),
  });

  /** Follows the fleet; `refused` is called when somebody has to sign in. */
  start(refused: () => void) {
    this.#refused = refused;
    this.#connection.subscribe(
      { id: 'fleet', hosts: [], fields: [], kinds: [], events: true, ...OVERVIEW },
      {
        snapshot: (snapshot) => {
          clock.heard(snapshot.at);
          this.fleet.replace(snapshot);
          // What happened while nobody listened has to be read up on.
          for (const tell of this.#missed) tell();
        },
        delta: (delta) => {
          clock.heard(delta.at);
          this.fleet.apply(delta);
        },
        event: (event) => {
          for (const tell of this.#heard) tell(event);
        },
        problem: (problem) => {
          if (problem.type.endsWith('events-missed')) for (const tell of this.#missed) tell();
        },
      },
    );
    this.#connection.start();
  }

  /** Forgets everything: somebody signed out. */
  stop() {
    this.#connection.stop();
    this.fleet = new Sight();
  }

  /** Watches more closely until the returned function is called. */
  watch(what: Omit<Subscribe, 'id'>, listener: Listener): () => void {
    this.#count += 1;
    return this.#connection.subscribe({ id: `w${this.#count}`, ...what }, listener);
  }

  /** Hears events as they happen; `missed` when some were not heard. */
  listen(tell: (event: HubEvent) => void, missed: () => void): () => void {
    this.#heard.add(tell);
    this.#missed.add(missed);
    return () => {
      this.#heard.delete(tell);
      this.#missed.delete(missed);
    };
  }

  hurry() {
    this.#connection.hurry();
  }

  doubt() {
    void this.#connection.doubt();
  }

  #changed(state: LinkState, retryAt: number | null) {
    // Trying again is still being lost.
    if (state === 'lost') this.lostAt ??= this.#connection.heardAt ?? Date.now();
    if (state === 'live' || state === 'idle') this.lostAt = null;
    this.state = state;
    this.retryAt = retryAt;
    if (state === 'refused') this.#refused();
  }
}

function socketUrl(): string {
  const url = new URL(hubUrl('api/v1/live'), location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

async function probe(): Promise<'well' | 'refused' | 'gone'> {
  try {
    const answer = await fetch(hubUrl('api/v1/me'), { credentials: 'same-origin', signal: AbortSignal.timeout(5_000) });
    if (answer.ok) return 'well';
    return answer.status === 401 ? 'refused' : 'gone';
  } catch {
    return 'gone';
  }
}

export const live = new Live();
