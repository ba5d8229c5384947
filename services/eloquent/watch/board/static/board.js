// The page: views, what is shown in them, and what runs.

import { BrowserChat } from "./browser.js";
import { Chat } from "./chat.js";
import { element, getJson } from "./dom.js";
import { Panels } from "./panels.js";
import { onTheme, setUpTheme, shade } from "./theme.js";

const RUN_REFRESH = 5000; // milliseconds
const find = (id) => document.getElementById(id);
const chosen = { client: "", schemes: new Set(), window: "30s", span: "5m" };
const problems = new Map();
let run = null;

function words() {
  const found = [["window", chosen.window], ["span", chosen.span]];
  if (chosen.client) found.push(["client", chosen.client]);
  for (const scheme of chosen.schemes) found.push(["scheme", scheme]);
  return found;
}

function report(what) {
  return (error) => {
    if (error) problems.set(what, error.message);
    else problems.delete(what);
    showNotices();
  };
}

// --- what runs

async function refreshRun() {
  if (!document.hidden) {
    try {
      run = await getJson("api/run");
      showRun();
    } catch (error) {
      report("run")(error);
    }
  }
  setTimeout(refreshRun, RUN_REFRESH);
}

function showRun() {
  report("run")(run.problem && new Error(run.problem));
  const facts = [run.scenario, `${run.clients.length} ${run.clients.length === 1 ? "client" : "clients"}`, `seed ${run.seed}`, `${run.carrier} links`];
  find("run").textContent = facts.join(" · ");
  find("run").title = run.link;
  const others = ["Prometheus", "Locust"].filter((name) => name in run.urls && (name !== "Locust" || run.load));
  find("links").replaceChildren(...others.map((name) => element("a", { href: run.urls[name], target: "_blank", rel: "noreferrer" }, name)));
}

function showNotices() {
  const box = find("notices");
  const firing = (run?.alerts ?? []).filter((alert) => alert.state === "firing");
  const isOpen = box.querySelector("details.bad")?.open ?? false;
  const shown = [...problems.values()].slice(0, 1).map((text) => element("p", { className: "notice bad" }, `Out of reach: ${text}`));
  if (firing.length > 0) {
    const names = new Map();
    for (const { name } of firing) names.set(name, (names.get(name) ?? 0) + 1);
    const title = [...names].map(([name, count]) => (count > 1 ? `${name} × ${count}` : name)).join(", ");
    const list = element("ul", {}, ...firing.map((alert) => element("li", {}, alert.summary)));
    shown.push(element("details", { className: "notice bad", open: isOpen }, element("summary", {}, element("b", {}, "Alerts"), ` ${title}`), list));
  }
  for (const [what, flaws] of Object.entries(run?.flaws ?? {})) {
    const list = element("ul", {}, ...flaws.map((text) => element("li", {}, text)));
    const title = element("b", {}, `Not valid: ${what} of this run. Nothing is compared.`);
    shown.push(element("div", { className: "notice bad" }, title, list));
  }
  if (run?.warnings.length) {
    const isRead = box.querySelector("details.warning")?.open ?? false;
    const list = element("ul", {}, ...run.warnings.map((text) => element("li", {}, text)));
    const title = element("summary", {}, element("b", {}, "Warnings of the run"), ` ${run.warnings.length}`);
    shown.push(element("details", { className: "notice warning", open: isRead }, title, list));
  }
  const text = JSON.stringify([...shown].map((one) => one.textContent));
  if (box.dataset.text !== text) {
    box.dataset.text = text;
    box.replaceChildren(...shown);
  }
}

// --- pickers

function select(label, options, value, change) {
  const made = element("select", { ariaLabel: label }, ...options.map(([key, text]) => element("option", { value: key, selected: key === value }, text)));
  made.addEventListener("change", () => change(made.value));
  return element("label", {}, element("span", {}, label), made);
}

function schemeChip(scheme, panels) {
  const chip = element("button", { type: "button", className: "chip", "--colour": shade(scheme.colour), ariaPressed: String(chosen.schemes.has(scheme.name)) }, element("i", { className: "dot" }), scheme.label);
  chip.addEventListener("click", () => {
    if (!chosen.schemes.delete(scheme.name)) chosen.schemes.add(scheme.name);
    chip.ariaPressed = String(chosen.schemes.has(scheme.name));
    panels.refresh();
  });
  return chip;
}

function showPickers(dashboard, definitions, panels) {
  const change = (name) => (value) => {
    chosen[name] = value;
    panels.refresh();
  };
  const clients = [["", "all clients"], ...run.clients.map((name) => [name, name])];
  const parts = [];
  if (dashboard.variables.includes("scheme")) {
    const chips = [...run.schemes, ...run.seen.filter((scheme) => scheme.colour)].map((scheme) => schemeChip(scheme, panels));
    parts.push(element("div", { className: "chips", role: "group", ariaLabel: "Schemes; none chosen shows all" }, ...chips));
  }
  if (dashboard.variables.includes("client")) parts.push(select("Client", clients, chosen.client, change("client")));
  parts.push(select("Rates over", definitions.windows.map((one) => [one, one]), chosen.window, change("window")));
  parts.push(select("Last", definitions.spans.map((one) => [one, one]), chosen.span, change("span")));
  find("pickers").replaceChildren(...parts);
}

// --- views

function setUpViews(definitions, browser) {
  const panels = new Panels(find("panels"), { choice: words, onError: report("panels") });
  const beside = element("div", { className: "panels" });
  const besides = new Panels(beside, { choice: () => [["window", "30s"], ["span", "5m"]], onError: report("panels") });
  const chat = new Chat(run, beside);
  find("chat").append(chat.box);
  const browserChat = new BrowserChat(run, browser);
  find("browser").append(browserChat.box);
  const views = [{ key: "chat", title: "Live chat" }, { key: "browser", title: "Through your browser" }, ...definitions.dashboards.map((one) => ({ key: one.title.toLowerCase(), title: one.title, dashboard: one }))];

  function show() {
    const view = views.find((one) => `#${one.key}` === location.hash) ?? views[0];
    for (const tab of find("tabs").children) {
      const isChosen = tab.id === `tab-${view.key}`;
      tab.ariaSelected = String(isChosen);
      if (isChosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    for (const key of ["chat", "browser"]) find(key).hidden = view.key !== key;
    find("dashboard").hidden = !view.dashboard;
    if (view.dashboard) {
      besides.stop();
      find("dashboard").setAttribute("aria-labelledby", `tab-${view.key}`);
      find("about").textContent = view.dashboard.description;
      showPickers(view.dashboard, definitions, panels);
      panels.show(view.dashboard);
    } else if (view.key === "browser") {
      panels.stop();
      besides.stop();
      browserChat.open();
    } else {
      panels.stop();
      besides.show(definitions.dashboards[0], [0, 1]);
    }
  }

  find("tabs").replaceChildren(...views.map((view) => element("a", { href: `#${view.key}`, role: "tab", id: `tab-${view.key}` }, view.title)));
  addEventListener("hashchange", show);
  onTheme(() => {
    const view = views.find((one) => `#${one.key}` === location.hash);
    if (view?.dashboard) showPickers(view.dashboard, definitions, panels);
  });
  show();
}

async function start() {
  try {
    const definitions = await getJson("api/panels");
    run = await getJson("api/run");
    showRun();
    setUpViews(definitions, await getJson("api/browser"));
    setTimeout(refreshRun, RUN_REFRESH);
  } catch (error) {
    report("run")(error);
    setTimeout(start, RUN_REFRESH);
  }
}

setUpTheme(find("theme"));
start();
