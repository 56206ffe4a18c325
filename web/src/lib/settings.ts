// Settings as lines of text, `intervals.fast = "5s"`, as the host's own file
// has them: what is between lines and values is all that is known of TOML here.
// The hub checks what it is given.
import { t } from './strings';

export type Settings = Record<string, unknown>;

/** One line for each setting. */
export function writeSettings(values: Settings): string {
  return Object.entries(values)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}`)
    .join('\n');
}

/** The settings of some lines; or which line makes no sense, and why. */
export function readSettings(text: string): { values: Settings } | { trouble: string } {
  const values: Settings = {};
  for (const [index, line] of text.split('\n').entries()) {
    const plain = line.trim();
    if (plain === '' || plain.startsWith('#')) continue;
    const at = plain.indexOf('=');
    const [key, value] = [plain.slice(0, at).trim(), plain.slice(at + 1).trim()];
    if (at < 1 || key === '' || value === '') return { trouble: t.admin.hosts.settings.line(index + 1, t.admin.hosts.settings.noEquals) };
    try {
      values[key] = JSON.parse(value);
    } catch {
      return { trouble: t.admin.hosts.settings.line(index + 1, t.admin.hosts.settings.noValue(value)) };
    }
  }
  return { values };
}
