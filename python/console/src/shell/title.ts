import { type RefCallback, useCallback, useEffect } from 'react';

let first = true;

/** Names the page in the tab, and gives its heading the focus when it is come to from another page. */
export function useTitle(title: string): RefCallback<HTMLHeadingElement> {
  useEffect(() => {
    document.title = `${title} · Fairlead`;
  }, [title]);
  return useCallback((heading: HTMLHeadingElement | null) => {
    if (heading && !first) heading.focus({ preventScroll: true });
    if (heading) first = false;
  }, []);
}
