// Dark and light: the reader's system decides until the reader does.

const KEY = "eloquent-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();

export const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

export function onTheme(listener) {
  listeners.add(listener);
}

function remembered(value) {
  try { // a browser that keeps nothing may refuse
    if (value) localStorage.setItem(KEY, value);
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function apply(theme, button) {
  if (theme) document.documentElement.dataset.theme = theme;
  button.textContent = isDark() ? "☀" : "☾";
  button.title = isDark() ? "Light" : "Dark";
  for (const listener of listeners) listener();
}

export function setUpTheme(button) {
  apply(remembered(), button);
  button.addEventListener("click", () => apply(remembered(isDark() ? "light" : "dark") ?? (isDark() ? "light" : "dark"), button));
  system.addEventListener("change", () => apply(null, button));
}

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The registry's colours suit white paper; on a dark page the deep ones are lifted, on a light one the pale ones deepened.
export function shade(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const light = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
  const [towards, share] = isDark() ? [255, Math.max(0, 0.62 - light) * 0.75] : [0, Math.max(0, light - 0.62) * 0.9];
  return `rgb(${[red, green, blue].map((part) => Math.round(part + (towards - part) * share)).join(" ")})`;
}
