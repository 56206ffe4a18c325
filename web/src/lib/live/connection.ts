// The one WebSocket to the hub: subscriptions that outlive connections, trying
// again with growing pauses, and noticing a connection that died in silence.
//
// No framework and no clock of its own in here: what it needs from outside is
// handed in, so that tests play both the hub and the time.
import type { Event as HubEvent, LiveDelta, LiveMessage, LiveSnapshot, Problem, Subscribe } from '../api/schema';

/** `lost` while the hub is away; `refused` when it wants somebody to sign in. */
export type LinkState = 'idle' | 'connecting' | 'live' | 'lost' | 'refused';

/** What a subscription does with what it hears. */
export interface Listener {
  snapshot?(snapshot: LiveSnapshot): void;
  delta?(delta: LiveDelta): void;
  event?(event: HubEvent): void;
  problem?(problem: Problem): void;
}

/** As much of a WebSocket as is used. */
export interface Socket {
  send(text: string): void;
  close(): void;
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
}

export interface Surroundings {
  open(): Socket;
  /** Whether the hub answers, and knows us: asked when a connection fails, or is silent. */
  probe(): Promise<'well' | 'refused' | 'gone'>;
  setTimeout(then: () => void, millis: number): unknown;
  clearTimeout(timer: unknown): void;
  random(): number;
  now(): number;
  changed(state: LinkState, retryAt: number | null): void;
}

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
/** Silence for so long is looked into. */
export const SILENCE = 20_000;
/** How long a try may take: a hub that hangs takes connections and says nothing. */
export const TRY = 10_000;
/** The code by which the hub says that a session has ended. */
const POLICY = 1008;

export class Connection {
  #around: Surroundings;
  #socket: Socket | null = null;
  #state: LinkState = 'idle';
  #subscriptions = new Map<string, { request: Subscribe; listener: Listener }>();
  #failures = 0;
  #timer: unknown = null;
  #watchdog: unknown = null;
  /** When the hub was last heard. */
  heardAt: number | null = null;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Watches something until the returned function is called. */
  subscribe(request: Subscribe, listener: Listener): () => void {
    const entry = { request, listener };
    this.#subscriptions.set(request.id, entry);
    if (this.#state === 'live') this.#ask(request);
    return () => {
      // Another one may have taken the id meanwhile.
      if (this.#subscriptions.get(request.id) !== entry) return;
      this.#subscriptions.delete(request.id);
      if (this.#state === 'live') this.#send({ op: 'unsub', id: request.id });
    };
  }

  /** Connects, and keeps it so. */
  start() {
    if (this.#state === 'idle' || this.#state === 'refused') this.#connect();
  }

  /** Ends it for good. */
  stop() {
    this.#drop();
    this.#failures = 0;
    this.#enter('idle');
  }

  /** Somebody is looking, or the network is back: do not wait any longer. */
  hurry() {
    if (this.#state !== 'lost') return;
    this.#failures = 0;
    this.#connect();
  }

  /** The page was asleep: what looks open may be long gone. */
  async doubt() {
    if (this.#state !== 'live') return this.hurry();
    await this.#lookInto();
  }

  #connect() {
    this.#drop();
    this.#enter('connecting');
    const socket = this.#around.open();
    this.#socket = socket;
    socket.onopen = () => {
      this.heardAt = this.#around.now();
      this.#failures = 0;
      this.#enter('live');
      for (const { request } of this.#subscriptions.values()) this.#ask(request);
      this.#watch();
    };
    socket.onmessage = ({ data }) => {
      this.heardAt = this.#around.now();
      this.#watch();
      this.#hear(data);
    };
    socket.onclose = ({ code }) => {
      if (this.#socket === socket) void this.#closed(code);
    };
    this.#watchdog = this.#around.setTimeout(() => this.#socket === socket && void this.#closed(1006), TRY);
  }

  async #closed(code: number) {
    this.#drop();
    if (code === POLICY) return this.#enter('refused');
    this.#later();
    // A refused upgrade and a hub that is away look alike to a WebSocket.
    if ((await this.#around.probe()) === 'refused' && this.#state === 'lost') {
      this.#drop();
      this.#enter('refused');
    }
  }

  #later() {
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures) * (0.5 + this.#around.random() / 2);
    this.#failures += 1;
    this.#timer = this.#around.setTimeout(() => this.#connect(), pause);
    this.#enter('lost', this.#around.now() + pause);
  }

  /** Looks into silence that has lasted too long. */
  #watch() {
    this.#around.clearTimeout(this.#watchdog);
    this.#watchdog = this.#around.setTimeout(() => void this.#lookInto(), SILENCE);
  }

  async #lookInto() {
    const socket = this.#socket;
    const found = await this.#around.probe();
    if (this.#socket !== socket || socket === null) return;
    if (found === 'well') {
      this.heardAt = this.#around.now();
      return this.#watch();
    }
    socket.onclose = null;
    socket.close();
    await this.#closed(found === 'refused' ? POLICY : 1006);
  }

  #hear(data: unknown) {
    if (typeof data !== 'string') return;
    const message = JSON.parse(data) as LiveMessage;
    const listener = this.#subscriptions.get(message.id)?.listener;
    if (!listener) return;
    switch (message.type) {
      case 'snapshot':
        return listener.snapshot?.(message);
      case 'delta':
        return listener.delta?.(message);
      case 'event':
        return listener.event?.(message.event);
      case 'error':
        return listener.problem?.(message.problem);
    }
  }

  #ask(request: Subscribe) {
    this.#send({ op: 'sub', ...request });
  }

  #send(message: unknown) {
    this.#socket?.send(JSON.stringify(message));
  }

  #drop() {
    this.#around.clearTimeout(this.#timer);
    this.#around.clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #enter(state: LinkState, retryAt: number | null = null) {
    this.#state = state;
    this.#around.changed(state, retryAt);
  }
}
