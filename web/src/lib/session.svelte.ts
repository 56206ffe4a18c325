// Who is signed in, and what they may do.
import { ApiError, get, onSignedOut, post } from './api/client';
import type { Login, Me, Role, Setup } from './api/schema';
import { catalogue } from './catalogue.svelte';
import { live } from './live/live.svelte';

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

class Session {
  /** `undefined` until it is known, `null` when nobody is. */
  me = $state.raw<Me | null | undefined>(undefined);
  /** Why it cannot be known. */
  trouble = $state<string | null>(null);

  constructor() {
    onSignedOut(() => this.ended());
  }

  /** Finds out who is signed in. */
  async find() {
    try {
      this.begun(await get<Me>('me'));
      this.trouble = null;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.ended();
      else this.trouble = error instanceof Error ? error.message : String(error);
    }
  }

  async signIn(login: Login) {
    this.begun(await post<Me>('login', login));
  }

  async setUp(setup: Setup) {
    this.begun(await post<Me>('setup', setup));
  }

  async signOut() {
    await post('logout');
    this.ended();
  }

  may(role: Role): boolean {
    return this.me ? RANK[this.me.role] >= RANK[role] : false;
  }

  private begun(me: Me) {
    this.me = me;
    live.start(() => this.ended());
    void catalogue.load();
  }

  private ended() {
    this.me = null;
    live.stop();
  }
}

export const session = new Session();
