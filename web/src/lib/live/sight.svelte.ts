// What is seen of hosts: now, as a live subscription tells it, or at a past
// moment. Each host and each of its kinds tells by itself when it changed, so
// that one reading of one host draws one card anew.
import { SvelteMap } from 'svelte/reactivity';
import type { Host, LiveDelta, LiveSnapshot, Resource } from '../api/schema';
import { applied } from './apply';

/** The few numbers that a host's card shows. */
export interface Summary {
  cpu?: number;
  memory?: number;
  /** The fullest file system. */
  disk?: { name: string; used: number };
  /** The warmest sensor. */
  temperature?: { name: string; celsius: number };
}

function summaryOf(sight: HostSight): Summary {
  const summary: Summary = {
    cpu: sight.only('cpu')?.readings.usage_ratio,
    memory: sight.only('memory')?.readings.used_ratio,
  };
  for (const { name, readings } of sight.all('filesystem')) {
    if (readings.used_ratio !== undefined && readings.used_ratio > (summary.disk?.used ?? -1)) {
      summary.disk = { name, used: readings.used_ratio };
    }
  }
  for (const { name, readings } of sight.all('sensor')) {
    const celsius = readings.temperature_celsius;
    if (celsius !== undefined && celsius > (summary.temperature?.celsius ?? -273)) summary.temperature = { name, celsius };
  }
  return summary;
}

/** One host, and what is known of its resources. */
export class HostSight {
  host = $state.raw<Host>(undefined as unknown as Host);
  #resources = new Map<string, Map<string, Resource>>();
  #versions = new SvelteMap<string, number>();
  /** Worked out once for each change, by whoever asks first: a card, or the order of all. */
  readonly summary: Summary = $derived(summaryOf(this));

  constructor(host: Host) {
    this.host = host;
  }

  /** The kinds there are, by name. */
  get kinds(): string[] {
    return [...this.#versions.keys()].filter((kind) => this.#resources.get(kind)?.size).sort();
  }

  /** The resources of a kind, as they came. */
  all(kind: string): Iterable<Resource> {
    this.#versions.get(kind);
    return this.#resources.get(kind)?.values() ?? [];
  }

  /** The resources of a kind, by name. */
  of(kind: string): Resource[] {
    return [...this.all(kind)].sort((a, b) => collator.compare(a.name, b.name));
  }

  /** One resource. */
  one(kind: string, name: string): Resource | undefined {
    this.#versions.get(kind);
    return this.#resources.get(kind)?.get(name);
  }

  /** The first resource of a kind of which there is one for each host. */
  only(kind: string): Resource | undefined {
    this.#versions.get(kind);
    return this.#resources.get(kind)?.values().next().value;
  }

  put(resource: Resource) {
    let kind = this.#resources.get(resource.kind);
    if (!kind) this.#resources.set(resource.kind, (kind = new Map()));
    kind.set(resource.name, resource);
    this.#touch(resource.kind);
  }

  drop(kind: string, name: string) {
    if (this.#resources.get(kind)?.delete(name)) this.#touch(kind);
  }

  /** Forgets resources that are not among those that were told. */
  keep(told: Set<string>) {
    for (const [kind, resources] of this.#resources) {
      for (const name of resources.keys()) if (!told.has(`${kind}:${name}`)) this.drop(kind, name);
    }
  }

  #touch(kind: string) {
    this.#versions.set(kind, (this.#versions.get(kind) ?? 0) + 1);
  }
}

const collator = new Intl.Collator('en', { numeric: true });
export const byName = (a: string, b: string) => collator.compare(a, b);

/** All hosts that a subscription, or a past moment, is about. */
export class Sight {
  hosts = new SvelteMap<string, HostSight>();
  /** The moment it stands for; null until something was heard. */
  at = $state<string | null>(null);

  get loaded(): boolean {
    return this.at !== null;
  }

  /** A host by its name, alias or id. */
  find(name: string): HostSight | undefined {
    for (const sight of this.hosts.values()) {
      if (sight.host.name === name || sight.host.id === name) return sight;
    }
    for (const sight of this.hosts.values()) if (sight.host.aliases.includes(name)) return sight;
    return undefined;
  }

  /** Everything, as it is at a moment; what is not in it is gone. */
  replace(snapshot: LiveSnapshot) {
    const present = new Set(snapshot.hosts.map((host) => host.id));
    for (const id of [...this.hosts.keys()]) if (!present.has(id)) this.hosts.delete(id);
    for (const host of snapshot.hosts) this.#host(host);
    const told = new Map<string, Set<string>>([...present].map((id) => [id, new Set()]));
    for (const resource of snapshot.resources) {
      this.hosts.get(resource.host_id)?.put(resource);
      told.get(resource.host_id)?.add(`${resource.kind}:${resource.name}`);
    }
    for (const [id, names] of told) this.hosts.get(id)?.keep(names);
    this.at = snapshot.at;
  }

  /** What changed. */
  apply(delta: LiveDelta) {
    for (const id of delta.removed_hosts ?? []) this.hosts.delete(id);
    for (const host of delta.hosts ?? []) this.#host(host);
    for (const change of delta.resources ?? []) {
      const sight = this.hosts.get(change.host_id);
      sight?.put(applied(sight.one(change.kind, change.name), change, sight.host.name));
    }
    for (const gone of delta.removed ?? []) this.hosts.get(gone.host_id)?.drop(gone.kind, gone.name);
    this.at = delta.at;
  }

  #host(host: Host) {
    const known = this.hosts.get(host.id);
    if (known) known.host = host;
    else this.hosts.set(host.id, new HostSight(host));
  }
}
