// Runs before the first paint. Without a choice of the viewer's, and where the system forces its colours, the system's own theme applies.
try {
  const theme = localStorage.getItem('fairlead.theme');
  if ((theme === 'light' || theme === 'dark') && !matchMedia('(forced-colors: active)').matches) {
    document.documentElement.dataset.theme = theme;
  }
} catch {
  // Storage may be forbidden.
}
