// The time, ticking, and what the hub's clock says: ages are told by the hub's,
// so that a phone whose clock is wrong does not see the future.

class Clock {
  /** The browser's time, each second. */
  now = $state(Date.now());
  /** How far the hub is ahead, in milliseconds. */
  offset = 0;

  /** Starts ticking; only while somebody looks. */
  start(): () => void {
    const tick = () => {
      if (document.visibilityState === 'visible') this.now = Date.now();
    };
    const timer = setInterval(tick, 1000);
    document.addEventListener('visibilitychange', tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', tick);
    };
  }

  /** The hub said what time it is. */
  heard(hubTime: string) {
    const ahead = Date.parse(hubTime) - Date.now();
    // What is on its way for a moment is no difference of clocks.
    if (Number.isFinite(ahead)) this.offset = Math.abs(ahead) < 2_000 ? 0 : ahead;
  }

  /** The hub's time, about. */
  get hub(): number {
    return this.now + this.offset;
  }
}

export const clock = new Clock();
