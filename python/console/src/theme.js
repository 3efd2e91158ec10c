// Runs before the first paint. Without a choice of the viewer's, the system's own applies.
try {
  const theme = localStorage.getItem('fairlead.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden.
}
