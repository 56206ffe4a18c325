// What every kind and field means, as the hub tells: units, help, thresholds.
import { all } from './api/client';
import type { Field, Kind } from './api/schema';
import { flag, unitOfName, value as format } from './format';

/** How the catalogue tells of a reading that is a yes or a no. */
const FLAG = /^1 (when|while|for) .*\b0\b/;

class Catalogue {
  kinds = $state.raw<Map<string, Kind>>(new Map());
  #fields = new Map<string, Field>();

  async load() {
    try {
      const kinds = await all<Kind>('catalogue');
      this.#fields = new Map(kinds.flatMap((kind) => kind.fields.map((field) => [`${kind.name}/${field.name}`, field])));
      this.kinds = new Map(kinds.map((kind) => [kind.name, kind]));
    } catch {
      // Units are then told from the names; asked again with the next sign-in.
    }
  }

  kind(name: string): Kind | undefined {
    return this.kinds.get(name);
  }

  field(kind: string, field: string): Field | undefined {
    void this.kinds;
    return this.#fields.get(`${kind}/${field}`);
  }

  /** What a field is measured in; by its name where the hub does not say. */
  unit(kind: string, field: string): string {
    return this.field(kind, field)?.unit ?? unitOfName(field);
  }

  /** A reading as people write it: in its unit, or as yes and no. */
  written(kind: string, field: string, reading: number | null | undefined): string {
    const unit = this.unit(kind, field);
    return unit === 'number' && FLAG.test(this.help(kind, field)) ? flag(reading) : format(reading, unit);
  }

  help(kind: string, field: string): string {
    return this.field(kind, field)?.help ?? '';
  }
}

export const catalogue = new Catalogue();
