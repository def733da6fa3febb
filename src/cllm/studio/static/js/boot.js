// Before the first paint: the theme; and Prism is told to wait until it is asked. Classic: modules run too late.
window.Prism = { manual: true, disableWorkerMessageHandler: true };
try {
  const theme = localStorage.getItem("cllm-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* storage is forbidden: the system's theme is used */ }
