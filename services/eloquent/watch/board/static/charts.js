// One class for each kind of panel. Each has `show(answer, times, step)` and `redraw()`, and draws into the element it is given.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { element } from "./dom.js";
import { clock, format } from "./format.js";
import { css, shade } from "./theme.js";

const HEIGHT = 210;
const STRIP = 24; // height of a strip of state
const OTHERS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733", "#009988", "#999933", "#882255"];
const DASHES = [[], [5, 4], [2, 3]];
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);
const FONT = "11px system-ui, sans-serif";

const levelOf = (value, thresholds) => thresholds.reduce((found, one) => (value >= one.value ? one.level : found), "good");

function empty(box) {
  box.replaceChildren(element("p", { className: "nothing" }, "No data"));
}

class Chart {
  constructor(box, panel) {
    this.box = box;
    this.panel = panel;
    this.plot = null;
    this.shape = "";
    new ResizeObserver(() => this.resize()).observe(box);
  }

  resize() {
    const width = this.box.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.plot.height });
  }

  redraw() {
    this.shape = "";
    if (this.answer) this.show(this.answer, this.times, this.step);
  }

  show(answer, times, step) {
    Object.assign(this, { answer, times, step });
    if (this.isEmpty(answer)) {
      this.drop();
      empty(this.box);
      return;
    }
    const shape = this.shapeOf(answer);
    if (this.plot && shape === this.shape) {
      this.plot.setData(this.data(answer, times));
    } else {
      this.drop();
      this.box.replaceChildren();
      this.plot = new uPlot(this.options(answer), this.data(answer, times), this.box);
      this.shape = shape;
      this.made(answer);
    }
    this.tell(this.plot.cursor.idx ?? null);
  }

  drop() {
    this.plot?.destroy();
    this.plot = null;
    this.shape = "";
  }

  made() {}

  tell() {}

  timeAxis() {
    const colour = css("--faint");
    const values = (_, splits) => splits.map((at) => clock(at, splits.length > 1 && splits[1] - splits[0] < 60));
    return { stroke: colour, font: FONT, values, space: 70, size: 30, gap: 8, grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false } };
  }

  frame(height) {
    return {
      width: Math.max(120, this.box.clientWidth),
      height,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "board", setSeries: false }, points: { size: 6 }, drag: { x: false, y: false }, y: false },
    };
  }
}

export class TimeSeries extends Chart {
  isEmpty(answer) {
    return answer.series.every((one) => one.values.every((value) => value === null));
  }

  shapeOf(answer) {
    return answer.series.map((one) => one.name).join("\n");
  }

  data(answer, times) {
    return [times, ...answer.series.map((one) => one.values)];
  }

  colours(answer) {
    let next = 0;
    return answer.series.map((one) => shade(one.colour ?? OTHERS[next++ % OTHERS.length]));
  }

  options(answer) {
    const { unit, thresholds } = this.panel;
    const colours = this.colours(answer);
    const lines = answer.series.map((one, place) => ({
      label: one.name, stroke: colours[place], width: 1.75, dash: DASHES[one.query % DASHES.length], points: { show: false, filter: lonely, size: 4, fill: colours[place] },
    }));
    const axis = {
      stroke: css("--faint"), font: FONT, size: unit === "short" ? 44 : 62, gap: 4, ticks: { show: false }, space: 34,
      incrs: unit === "bytes" ? POWERS : undefined, grid: { stroke: css("--grid"), width: 1 }, values: (_, splits) => splits.map((value) => format(value, unit)),
    };
    return {
      ...this.frame(HEIGHT),
      series: [{}, ...lines],
      axes: [this.timeAxis(), axis],
      scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.06 : 1] } },
      hooks: { drawAxes: [(plot) => drawThresholds(plot, thresholds)], setCursor: [(plot) => this.tell(plot.cursor.idx)] },
    };
  }

  made(answer) {
    const colours = this.colours(answer);
    this.shown = answer.series.map((one, place) => {
      const value = element("b");
      const button = element(
        "button", { type: "button", className: "key", "--colour": colours[place], ariaPressed: "true", dataset: { query: String(one.query) } },
        element("i"), element("span", {}, one.name), value,
      );
      button.addEventListener("click", () => {
        const isShown = button.ariaPressed !== "true";
        button.ariaPressed = String(isShown);
        this.plot.setSeries(place + 1, { show: isShown });
      });
      return { button, value };
    });
    this.box.append(element("div", { className: "legend" }, ...this.shown.map((one) => one.button)));
  }

  tell(index) {
    const at = index ?? this.times.length - 1;
    this.answer.series.forEach((one, place) => {
      const value = index === null ? one.values.slice(-4).findLast((found) => found !== null) : one.values[at];
      this.shown[place].value.textContent = format(value, this.panel.unit);
    });
  }
}

// A point whose neighbours are missing would be no line, and not be seen.
function lonely(plot, series) {
  const values = plot.data[series];
  const found = values.flatMap((value, at) => (value !== null && values[at - 1] == null && values[at + 1] == null ? [at] : []));
  return found.length > 0 ? found : null;
}

function drawThresholds(plot, thresholds) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([6 * devicePixelRatio, 5 * devicePixelRatio]);
  for (const { value, level } of thresholds) {
    if (value > plot.scales.y.max) continue;
    const y = plot.valToPos(value, "y", true);
    ctx.strokeStyle = css(`--${level}`);
    ctx.globalAlpha = 0.55;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

// Rows of cells over time: what state strips and heat maps have in common. The data of uPlot is only the row of instants.
class Rows extends Chart {
  data(_, times) {
    return [times, times.map(() => null)];
  }

  shapeOf(answer) {
    return this.names(answer).join("\n");
  }

  options(answer) {
    const names = this.names(answer);
    const longest = Math.max(...names.map((name) => name.length));
    const axis = {
      stroke: css("--faint"), font: FONT, size: Math.min(150, 16 + longest * 6.4), gap: 6, ticks: { show: false }, grid: { show: false },
      splits: () => names.map((_, place) => place + 0.5), values: () => names,
    };
    return {
      ...this.frame(this.height(names.length)),
      series: [{}, { show: false }],
      axes: [this.timeAxis(), axis],
      scales: { y: { range: [0, names.length] } },
      hooks: { draw: [(plot) => this.draw(plot)], setCursor: [(plot) => this.tell(plot.cursor.idx, plot)] },
    };
  }

  draw(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const gap = this.gap * devicePixelRatio;
    this.rows(this.answer).forEach((values, row) => {
      const [bottom, top] = [row, row + 1].map((edge) => plot.valToPos(edge, "y", true));
      values.forEach((value, at) => {
        const colour = value === null ? null : this.colour(value, ctx);
        if (!colour) return;
        const [left, right] = [this.times[at] - this.step, this.times[at]].map((instant) => Math.round(plot.valToPos(instant, "x", true)));
        ctx.fillStyle = colour;
        ctx.fillRect(left, top + gap, right - left, bottom - top - 2 * gap);
      });
      ctx.globalAlpha = 1;
    });
    ctx.restore();
  }

  made() {
    this.line = element("p", { className: "reading" });
    this.box.append(this.line);
  }

  tell(index, plot) {
    const row = index === null || !plot ? null : Math.floor(plot.posToVal(plot.cursor.top, "y"));
    const value = row === null ? null : this.rows(this.answer)[row]?.[index];
    const isThere = value !== null && value !== undefined;
    this.line.replaceChildren(...(isThere ? [`${clock(this.times[index], true)} · ${this.names(this.answer)[row]}: ${this.reading(value)}`] : this.idle()));
  }
}

export class State extends Rows {
  gap = 2;

  isEmpty(answer) {
    return answer.series.every((one) => one.values.every((value) => value === null));
  }

  height = (rows) => 44 + STRIP * rows;

  // The first row is on top.
  names = (answer) => answer.series.map((one) => one.name).reverse();

  rows = (answer) => answer.series.map((one) => one.values).reverse();

  colour = (value) => (this.palette ??= { good: css("--good"), warning: css("--warning"), bad: css("--bad") })[levelOf(value, this.panel.thresholds)];

  redraw() {
    this.palette = null;
    super.redraw();
  }

  reading = (value) => format(value, this.panel.unit);

  idle() {
    const { thresholds, unit } = this.panel;
    const steps = [{ level: "good", text: `below ${format(thresholds[0].value, unit)}` }];
    for (const { level, value } of thresholds) steps.push({ level, text: `from ${format(value, unit)}` });
    return steps.map(({ level, text }) => element("span", { className: "swatch", dataset: { level } }, text));
  }
}

export class HeatMap extends Rows {
  gap = 0.5;

  isEmpty(answer) {
    return this.most(answer) === 0;
  }

  most = (answer) => Math.max(0, ...answer.rows.flat().filter((value) => value !== null));

  height = () => HEIGHT + 20;

  names(answer) {
    return answer.bounds.map((bound, place) => (bound === "+Inf" ? `> ${this.edge(answer.bounds[place - 1])}` : `≤ ${this.edge(bound)}`));
  }

  edge = (bound) => format(Number(bound), this.panel.unit);

  rows = (answer) => answer.rows;

  colour(value, context) {
    if (value === 0) return null;
    context.globalAlpha = 0.12 + 0.88 * Math.sqrt(value / this.peak);
    return this.ink;
  }

  draw(plot) {
    this.peak = this.most(this.answer);
    this.ink = css("--heat");
    super.draw(plot);
  }

  reading = (value) => format(value, "cps");

  idle = () => [`at most ${format(this.most(this.answer), "cps")}`];
}

export class Stat {
  constructor(box, panel) {
    this.box = box;
    this.panel = panel;
  }

  show(answer) {
    this.answer = answer;
    const found = answer.series.filter((one) => one.value !== null);
    if (found.length === 0) return empty(this.box);
    const { unit, thresholds } = this.panel;
    const shown = found.map((one) => {
      const level = thresholds.length ? levelOf(one.value, thresholds) : "none";
      const name = element("span", { className: "name" }, one.name);
      if (one.colour) name.prepend(element("i", { className: "dot", "--colour": shade(one.colour) }));
      return element("div", { className: "stat" }, element("b", { dataset: { level } }, format(one.value, unit)), name);
    });
    return this.box.replaceChildren(element("div", { className: "stats" }, ...shown));
  }

  redraw() {
    if (this.answer) this.show(this.answer);
  }
}

export class Table extends Stat {
  show(answer) {
    this.answer = answer;
    if (answer.series.length === 0) return empty(this.box);
    const rows = answer.series.map((one) => element("tr", {}, element("td", {}, one.name), element("td", {}, format(one.value, this.panel.unit))));
    return this.box.replaceChildren(element("table", {}, element("tbody", {}, ...rows)));
  }
}

export const KINDS = { timeseries: TimeSeries, stat: Stat, heatmap: HeatMap, state: State, table: Table };
