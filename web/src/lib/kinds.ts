// How kinds are shown where more is known of them than the catalogue tells:
// order, title, which numbers first. A kind that is not in here is shown all
// the same, with everything the catalogue says.
import type { Kind, Resource } from './api/schema';
import { humanTimes, label } from './format';
import type { IconName } from './icons';
import { t } from './strings';

export interface KindView {
  title: string;
  icon: IconName;
  /** `facts`: one for each host, as a grid; `list`: many, as a table. */
  shape: 'facts' | 'list';
  /** The reading that is shown as a bar. */
  bar?: string;
  /** Readings in columns, first things first. */
  columns?: string[];
  /** Texts below the name. */
  about?: string[];
  /** The text that people know the thing by, where its name is for machines. */
  called?: string;
  /** Shut until somebody asks, as long as all is well. */
  shut?: boolean;
  /** Needs the whole width. */
  wide?: boolean;
}

const VIEWS: Record<string, KindView> = {
  cpu: { title: t.kinds.cpu, icon: 'cpu', shape: 'facts', bar: 'usage_ratio' },
  core: { title: t.kinds.core, icon: 'cpu', shape: 'list', bar: 'usage_ratio', columns: ['usage_ratio', 'frequency_hertz'], shut: true },
  load: { title: t.kinds.load, icon: 'load', shape: 'facts' },
  memory: { title: t.kinds.memory, icon: 'memory', shape: 'facts', bar: 'used_ratio' },
  pressure: { title: t.kinds.pressure, icon: 'load', shape: 'list', columns: ['some_avg10_ratio', 'some_avg60_ratio', 'some_avg300_ratio', 'full_avg10_ratio', 'full_avg300_ratio'] },
  filesystem: { title: t.kinds.filesystem, icon: 'disk', shape: 'list', bar: 'used_ratio', columns: ['used_ratio', 'used_bytes', 'available_bytes', 'size_bytes', 'inodes_used_ratio'], about: ['device', 'type'], wide: true },
  pool: { title: t.kinds.pool, icon: 'pool', shape: 'list', wide: true },
  dataset: { title: t.kinds.dataset, icon: 'pool', shape: 'list', columns: ['used_bytes', 'available_bytes', 'quota_used_ratio', 'snapshot_bytes', 'snapshots', 'newest_snapshot_age_seconds'], bar: 'quota_used_ratio', about: ['mountpoint'], shut: true, wide: true },
  arc: { title: t.kinds.arc, icon: 'pool', shape: 'facts', bar: 'hit_ratio', shut: true },
  disk: { title: t.kinds.disk, icon: 'disk', shape: 'list', called: 'device', columns: ['utilisation_ratio', 'read_bytes_per_second', 'write_bytes_per_second', 'read_await_seconds', 'write_await_seconds', 'temperature_celsius', 'wear_used_ratio', 'size_bytes'], about: ['model', 'serial', 'health', 'power'], wide: true },
  interface: { title: t.kinds.interface, icon: 'network', shape: 'list', columns: ['receive_bytes_per_second', 'transmit_bytes_per_second', 'receive_errors_per_second', 'receive_drops_per_second', 'speed_bytes_per_second'], about: ['addresses', 'state'], wide: true },
  sensor: { title: t.kinds.sensor, icon: 'sensor', shape: 'list', columns: ['temperature_celsius', 'critical_celsius', 'fan_rpm'] },
  gpu: { title: t.kinds.gpu, icon: 'gpu', shape: 'list', bar: 'utilisation_ratio', called: 'model', columns: ['utilisation_ratio', 'memory_used_ratio', 'temperature_celsius', 'power_watts', 'clock_hertz', 'fan_ratio'], about: ['driver', 'performance_state'], wide: true },
  systemd: { title: t.kinds.systemd, icon: 'service', shape: 'facts' },
  service: { title: t.kinds.service, icon: 'service', shape: 'list', columns: ['cpu_ratio', 'memory_bytes', 'tasks', 'recent_restarts', 'read_bytes_per_second', 'write_bytes_per_second'], about: ['description', 'sub_state'], wide: true },
  timer: { title: t.kinds.timer, icon: 'timer', shape: 'list', columns: ['since_last_run_seconds', 'until_next_run_seconds'], about: ['unit', 'last_result'] },
  container: { title: t.kinds.container, icon: 'container', shape: 'list', columns: ['cpu_ratio', 'memory_bytes', 'memory_used_ratio', 'receive_bytes_per_second', 'transmit_bytes_per_second', 'restarts', 'uptime_seconds'], about: ['image', 'state', 'health'], wide: true },
  container_engine: { title: t.kinds.container_engine, icon: 'container', shape: 'list', columns: ['containers', 'running', 'images_bytes', 'volumes_bytes', 'build_cache_bytes'], about: ['version'] },
  guest: { title: t.kinds.guest, icon: 'guest', shape: 'list', called: 'name', columns: ['cpu_ratio', 'memory_bytes', 'memory_used_ratio', 'disk_used_ratio', 'receive_bytes_per_second', 'transmit_bytes_per_second', 'uptime_seconds'], about: ['type', 'state', 'addresses'], wide: true },
  node: { title: t.kinds.node, icon: 'guest', shape: 'list', columns: ['cpu_ratio', 'memory_used_ratio', 'guests', 'running_guests', 'running_tasks', 'failed_tasks', 'uptime_seconds'], about: ['state', 'version', 'cluster'], wide: true },
  cluster: { title: t.kinds.cluster, icon: 'guest', shape: 'list', columns: ['quorate', 'online_nodes', 'nodes'], about: ['offline'] },
  storage: { title: t.kinds.storage, icon: 'disk', shape: 'list', bar: 'used_ratio', columns: ['used_ratio', 'used_bytes', 'available_bytes', 'total_bytes', 'active'], about: ['type', 'content'], wide: true },
  replication: { title: t.kinds.replication, icon: 'backup', shape: 'list', columns: ['age_seconds', 'duration_seconds', 'failures', 'until_next_run_seconds'], about: ['state', 'target', 'schedule'], wide: true },
  backup: { title: t.kinds.backup, icon: 'backup', shape: 'list', columns: ['age_seconds', 'age_ratio', 'duration_seconds', 'added_bytes', 'size_bytes', 'backups', 'until_next_run_seconds'], about: ['type', 'guest', 'state', 'repository'], wide: true },
  updates: { title: t.kinds.updates, icon: 'update', shape: 'facts' },
  check: { title: t.kinds.check, icon: 'check', shape: 'list', columns: ['up', 'latency_seconds', 'packet_loss_ratio', 'http_status', 'certificate_remaining_seconds'], about: ['target', 'error'], wide: true },
  peer: { title: t.kinds.peer, icon: 'network', shape: 'list', columns: ['online', 'handshake_age_seconds', 'receive_bytes_per_second', 'transmit_bytes_per_second'], about: ['type', 'addresses', 'endpoint'] },
  probe: { title: t.kinds.probe, icon: 'check', shape: 'list', columns: ['value', 'value_ratio', 'value_bytes', 'value_bytes_per_second', 'value_per_second', 'value_seconds', 'value_celsius', 'value_hertz', 'value_watts', 'value_volts', 'value_amperes', 'on', 'duration_seconds'], about: ['text', 'error'] },
  textfile: { title: t.kinds.textfile, icon: 'check', shape: 'list' },
  process: { title: t.kinds.process, icon: 'process', shape: 'facts', wide: true },
  tmpfs: { title: t.kinds.tmpfs, icon: 'memory', shape: 'list', bar: 'used_ratio', columns: ['used_ratio', 'used_bytes', 'size_bytes'], shut: true },
  zram: { title: t.kinds.zram, icon: 'memory', shape: 'list', bar: 'used_ratio', columns: ['used_ratio', 'original_bytes', 'compressed_bytes', 'compression_ratio'], about: ['algorithm'], shut: true },
  host: { title: t.kinds.host, icon: 'host', shape: 'facts' },
  os: { title: t.kinds.os, icon: 'host', shape: 'facts' },
  collector: { title: t.kinds.collector, icon: 'agent', shape: 'list', columns: ['duration_seconds'], about: ['outcome', 'error', 'cure'], shut: true },
  agent: { title: t.kinds.agent, icon: 'agent', shape: 'facts', shut: true },
};

const ORDER = Object.keys(VIEWS);
/** What is about the agent comes last; what nobody here knows, before it. */
const BEFORE_UNKNOWN = ORDER.indexOf('tmpfs');

/** How a kind is shown. */
export function viewOf(kind: string, resources: Resource[] = []): KindView {
  const known = VIEWS[kind];
  if (known) return known;
  const alone = resources.length === 1 && resources[0]?.name === kind;
  return { title: capital(label(kind)), icon: 'thing', shape: alone ? 'facts' : 'list', bar: undefined };
}

/** Kinds in the order in which they are shown. */
export function inOrder(kinds: string[]): string[] {
  const place = (kind: string) => {
    const at = ORDER.indexOf(kind);
    return at < 0 ? BEFORE_UNKNOWN - 0.5 : at;
  };
  return [...kinds].sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
}

/** At most so many columns, or a table is no longer read. */
const MOST_COLUMNS = 7;

/** The readings that a table of resources shows: those that any of them has. */
export function columnsOf(view: KindView, kind: Kind | undefined, resources: Resource[]): string[] {
  const present = new Set(resources.flatMap((resource) => Object.keys(resource.readings)));
  const wanted = view.columns?.filter((field) => present.has(field)) ?? [];
  if (wanted.length > 0) return wanted;
  const declared = kind?.fields.map((field) => field.name) ?? [];
  const all = [...declared.filter((field) => present.has(field)), ...[...present].filter((field) => !declared.includes(field))];
  return all.slice(0, MOST_COLUMNS);
}

/** All readings of a resource: in the catalogue's order, then the rest. */
export function readingsOf(kind: Kind | undefined, resource: Resource): string[] {
  const declared = kind?.fields.map((field) => field.name) ?? [];
  const present = Object.keys(resource.readings);
  return [...declared.filter((field) => field in resource.readings), ...present.filter((field) => !declared.includes(field))];
}

/** What people call a resource. */
export function calledOf(view: KindView, resource: Resource): string {
  const name = view.called ? resource.attributes[view.called] : undefined;
  return typeof name === 'string' && name ? name : resource.name;
}

/** Why a resource stands as it does, by the name that people know it by. */
export function reasonOf(view: KindView, resource: Resource, reason = resource.reason): string {
  return humanTimes(reason.replaceAll(resource.name, calledOf(view, resource)));
}

export const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
