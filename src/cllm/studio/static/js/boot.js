// Sets the theme before the first paint; a classic script, because modules run too late for that.
try {
  const theme = localStorage.getItem("cllm-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* storage is forbidden: the system's theme is used */ }
