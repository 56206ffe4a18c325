// What this browser remembers: how the overview looks, light or dark.

export type Theme = 'system' | 'light' | 'dark';
export type View = 'cards' | 'rows';

function remembered<T extends string>(key: string, known: readonly T[], usual: T): T {
  try {
    const value = localStorage.getItem(`tomte.${key}`) as T | null;
    return value !== null && known.includes(value) ? value : usual;
  } catch {
    return usual; // Storage may be refused; then nothing is remembered.
  }
}

function remember(key: string, value: string) {
  try {
    localStorage.setItem(`tomte.${key}`, value);
  } catch {
    // As above.
  }
}

class Prefs {
  theme = $state<Theme>(remembered('theme', ['system', 'light', 'dark'], 'system'));
  view = $state<View>(remembered('view', ['cards', 'rows'], 'cards'));

  setTheme(theme: Theme) {
    this.theme = theme;
    remember('theme', theme);
    this.show();
  }

  setView(view: View) {
    this.view = view;
    remember('view', view);
  }

  /** Puts the theme on the page. */
  show() {
    const root = document.documentElement;
    if (this.theme === 'system') root.removeAttribute('data-theme');
    else root.dataset.theme = this.theme;
  }
}

export const prefs = new Prefs();
