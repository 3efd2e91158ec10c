import { useEffect, useState } from 'react';

export type Theme = 'system' | 'light' | 'dark';
const KEY = 'fairlead.theme';
const CHANGED = 'fairlead-theme';

export function theme(): Theme {
  const chosen = document.documentElement.dataset.theme;
  return chosen === 'light' || chosen === 'dark' ? chosen : 'system';
}

export function setTheme(chosen: Theme): void {
  if (chosen === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try {
    if (chosen === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
  } catch {
    // Then it holds until the page is loaded again.
  }
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
