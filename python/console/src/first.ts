/** Imported before anything else. uPlot formats numbers by `navigator.language` while it is imported, and throws on names such as
 * `en-US@posix`, which Chromium takes from the environment of a Linux machine. */
function sound(language: string): boolean {
  try {
    Intl.NumberFormat(language);
    return true;
  } catch {
    return false;
  }
}

if (!sound(navigator.language)) {
  const language = navigator.language.split(/[@._]/)[0] ?? '';
  Object.defineProperty(navigator, 'language', {
    value: sound(language) && language ? language : 'en',
    configurable: true,
  });
}

export {};
