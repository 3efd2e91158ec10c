import { useEffect, useState } from 'react';

export type Theme = 'system' | 'light' | 'dark';
const KEY = 'fairlead.theme';
const CHANGED = 'fairlead-theme';

const forced = matchMedia('(forced-colors: active)');
let choice = stored();
forced.addEventListener('change', apply);

export function theme(): Theme {
  return choice;
}

export function setTheme(chosen: Theme): void {
  choice = chosen;
  apply();
  try {
    if (chosen === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
  } catch {
    // Then it holds until the page is loaded again.
  }
}

function stored(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === 'light' || kept === 'dark' ? kept : 'system';
  } catch {
    return 'system';
  }
}

/** Where the system forces its colours, what is drawn in our own must stand on its background. */
function apply(): void {
  if (choice === 'system' || forced.matches) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  dispatchEvent(new Event(CHANGED));
}

/** Changes whenever colours do, for what is drawn and not styled. */
export function useThemeVersion(): number {
  const [version, set] = useState(0);
  useEffect(() => {
    const changed = () => set((before) => before + 1);
    const media = matchMedia('(prefers-color-scheme: dark)');
    addEventListener(CHANGED, changed);
    media.addEventListener('change', changed);
    return () => {
      removeEventListener(CHANGED, changed);
      media.removeEventListener('change', changed);
    };
  }, []);
  return version;
}
