import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { LiveSnapshot } from '../api/schema';
import { Connection, SILENCE, TRY, type LinkState, type Socket } from './connection';

/** The hub, as the connection sees it. */
class Hub {
  sockets: (Socket & { sent: unknown[]; closed: boolean })[] = [];
  states: LinkState[] = [];
  retryAt: number | null = null;
  found: 'well' | 'refused' | 'gone' = 'gone';
  connection = new Connection({
    open: () => {
      const socket = {
        sent: [] as unknown[],
        closed: false,
        send: (text: string) => void socket.sent.push(JSON.parse(text)),
        close: () => (socket.closed = true),
        onopen: null,
        onmessage: null,
        onclose: null,
      } as Socket & { sent: unknown[]; closed: boolean };
      this.sockets.push(socket);
      return socket;
    },
    probe: async () => this.found,
    setTimeout: (then, millis) => setTimeout(then, millis),
    clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
    random: () => 1,
    now: () => Date.now(),
    changed: (state, retryAt) => {
      this.states.push(state);
      this.retryAt = retryAt;
    },
  });

  get socket() {
    return this.sockets[this.sockets.length - 1]!;
  }

  say(message: unknown) {
    this.socket.onmessage?.({ data: JSON.stringify(message) });
  }

  async lose(code = 1006) {
    this.socket.onclose?.({ code });
    await vi.advanceTimersByTimeAsync(0);
  }
}

const request = { id: 'a', hosts: [], kinds: [], fields: [] };

describe('the connection', () => {
  let hub: Hub;
  beforeEach(() => {
    vi.useFakeTimers();
    hub = new Hub();
  });

  it('asks for what is watched as soon as it is open, and tells what it hears', () => {
    const seen: LiveSnapshot[] = [];
    hub.connection.subscribe(request, { snapshot: (snapshot) => seen.push(snapshot) });
    hub.connection.start();
    expect(hub.socket.sent).toEqual([]);
    hub.socket.onopen?.();
    expect(hub.socket.sent).toEqual([{ op: 'sub', ...request }]);
    hub.say({ id: 'a', type: 'snapshot', at: 'now', hosts: [], resources: [] });
    hub.say({ id: 'another', type: 'snapshot', at: 'now', hosts: [], resources: [] });
    expect(seen).toHaveLength(1);
  });

  it('tries again with growing pauses, and catches up by asking anew', async () => {
    hub.connection.subscribe(request, {});
    hub.connection.start();
    const pauses: number[] = [];
    for (let lost = 0; lost < 7; lost += 1) {
      await hub.lose();
      expect(hub.connection.state).toBe('lost');
      pauses.push(hub.retryAt! - Date.now());
      await vi.advanceTimersByTimeAsync(hub.retryAt! - Date.now());
      expect(hub.connection.state).toBe('connecting');
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    hub.socket.onopen?.();
    expect(hub.socket.sent).toEqual([{ op: 'sub', ...request }]);
    await hub.lose();
    expect(hub.retryAt! - Date.now(), 'what worked once begins from the start').toBe(1_000);
  });

  it('tries at once when somebody asks', async () => {
    hub.connection.start();
    await hub.lose();
    await hub.lose();
    hub.connection.hurry();
    expect(hub.connection.state).toBe('connecting');
    hub.connection.hurry();
    expect(hub.sockets, 'and not twice').toHaveLength(2);
  });

  it('gives up when the hub wants somebody to sign in', async () => {
    hub.connection.start();
    hub.socket.onopen?.();
    await hub.lose(1008);
    expect(hub.connection.state).toBe('refused');
    await vi.advanceTimersByTimeAsync(120_000);
    expect(hub.sockets).toHaveLength(1);

    // An upgrade that is refused looks like a hub that is away.
    const other = new Hub();
    other.found = 'refused';
    other.connection.start();
    await other.lose();
    expect(other.connection.state).toBe('refused');
  });

  it('looks into silence: a hub that answers is waited for, one that does not is lost', async () => {
    hub.connection.start();
    hub.socket.onopen?.();
    hub.found = 'well';
    await vi.advanceTimersByTimeAsync(SILENCE);
    expect(hub.connection.state).toBe('live');
    hub.found = 'gone';
    await vi.advanceTimersByTimeAsync(SILENCE);
    expect(hub.connection.state).toBe('lost');
    expect(hub.socket.closed).toBe(true);
  });

  it('knows when the hub was last heard, and does not wait for a try that hangs', async () => {
    hub.connection.start();
    hub.socket.onopen?.();
    await vi.advanceTimersByTimeAsync(5_000);
    hub.say({ id: 'a', type: 'delta', at: 'now' });
    const heard = Date.now();
    await vi.advanceTimersByTimeAsync(SILENCE);
    expect(hub.connection.state).toBe('lost');
    expect(hub.connection.heardAt).toBe(heard);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(hub.connection.state).toBe('connecting');
    await vi.advanceTimersByTimeAsync(TRY);
    expect(hub.connection.state, 'and tries again').toBe('lost');
    expect(hub.retryAt! - Date.now()).toBe(2_000);
    expect(hub.connection.heardAt).toBe(heard);
  });

  it('tells the hub what is no longer watched, unless another has taken its place', () => {
    hub.connection.start();
    hub.socket.onopen?.();
    const first = hub.connection.subscribe(request, {});
    const second = hub.connection.subscribe(request, {});
    first();
    expect(hub.socket.sent).toHaveLength(2);
    second();
    expect(hub.socket.sent[2]).toEqual({ op: 'unsub', id: 'a' });
  });
});
