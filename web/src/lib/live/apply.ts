// Deltas, applied to what was seen before. What changed is a new object, what
// did not is the same one: that is how the page knows what to draw anew.
import type { Resource, ResourceDelta } from '../api/schema';

/** A resource of which nothing is known but its name. */
function fresh(delta: ResourceDelta, host: string): Resource {
  return {
    host,
    host_id: delta.host_id,
    kind: delta.kind,
    name: delta.name,
    status: null,
    reason: '',
    problems: [],
    stale: false,
    at: delta.at,
    facets: {},
    attributes: {},
    readings: {},
    tables: {},
  };
}

/** The resource after the delta. */
export function applied(before: Resource | undefined, delta: ResourceDelta, host: string): Resource {
  const from = before ?? fresh(delta, host);
  const after: Resource = {
    ...from,
    at: delta.at,
    facets: merged(from.facets, delta.facets),
    attributes: merged(from.attributes, delta.attributes),
    readings: merged(from.readings, delta.readings),
    tables: merged(from.tables ?? {}, delta.tables),
  };
  if (delta.standing) {
    after.status = delta.standing.status ?? null;
    after.reason = delta.standing.reason;
    after.problems = delta.standing.problems;
    after.stale = delta.standing.stale;
  }
  return after;
}

function merged<V>(before: Record<string, V>, changes: Record<string, V | null> | undefined): Record<string, V> {
  if (!changes) return before;
  const after = { ...before };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete after[name];
    else after[name] = value;
  }
  return after;
}
