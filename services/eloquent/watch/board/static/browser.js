// Through your browser: this page is the client of the impaired link, and measures what it gets over it.

import { makeFetch, preconnect } from "../client/eloquent.js";
import { PATH, completionBody, readTokens } from "./completion.js";
import { element, getJson } from "./dom.js";
import { format } from "./format.js";
import { Pane, Strip } from "./pane.js";
import { Question } from "./question.js";
import { onTheme } from "./theme.js";

const LOOK = 4; // times the length of an answer that the states of the link are asked for: a stalled one takes longer
const OUTAGES = [["1", "1 s"], ["3", "3 s"], ["5", "5 s"], ["10", "10 s"]];
const HEADERS = { "content-type": "application/json" };

const CARRIERS = { webtransport: "WebTransport", sse: "SSE over TCP" };

// The ways by which this page asks: functions shaped like fetch, so that nothing else differs.
const WAYS = [
  { describe: (browser) => browser.tcp, fetch: () => fetch },
  { describe: (browser) => browser.eloquent, fetch: (browser) => makeFetch(relayOf(browser)) },
];
const PATIENCE = 6; // seconds until the page does without WebTransport: on such links a handshake alone may take 2 s and more

const relayOf = ({ relay, certificate_hash }) => ({ webTransport: relay, certificateHashes: [certificate_hash], fallbackAfter: PATIENCE });

export class BrowserChat {
  constructor(run, browser) {
    this.browser = browser;
    this.abort = null;
    this.frame = 0;
    this.link = [];
    this.question = new Question(run, "browser", { after: [this.makeOutage()], onAsk: () => (this.abort ? this.abort.abort() : this.ask()) });
    this.strip = new Strip();
    this.paneBox = element("div", { className: "panes" });
    this.verdict = element("p", { className: "verdict", role: "status" });
    this.box = element(
      "div", { className: "chat" },
      element("p", { className: "about" }, `Here your own browser is the client: what it asks and gets crosses the link of ${browser.client}. The same question is asked at the same instant both ways, and this page measures what it renders.`),
      this.question.form, this.strip.box, this.paneBox, this.verdict,
      element("p", { className: "quiet" }, "A stall is a gap of more than 200 ms between two tokens."),
    );
    this.showPanes();
    onTheme(() => this.panes.forEach((pane) => pane.recolour()));
  }

  // The reader looks: let the connection be there when he asks, as that over TCP is.
  open() {
    preconnect(PATH, relayOf(this.browser));
  }

  makeOutage() {
    this.outage = element("select", { name: "outage", ariaLabel: "Length of the outage" }, ...OUTAGES.map(([value, text]) => element("option", { value, selected: value === "3" }, text)));
    this.cutButton = element("button", { type: "button", className: "chip cut" }, "Cut the link");
    this.cutButton.addEventListener("click", () => this.cut());
    return element("span", { className: "outage" }, this.cutButton, element("label", {}, element("span", {}, "for"), this.outage));
  }

  // Everything on the link is lost for a while, in both directions.
  async cut() {
    const seconds = Number(this.outage.value);
    try {
      await getJson("api/outage", { method: "POST", headers: HEADERS, body: JSON.stringify({ seconds }) });
      this.verdict.textContent = "";
    } catch (error) {
      this.verdict.textContent = error.message;
      return;
    }
    if (this.abort) this.splice(this.elapsed(), seconds);
    this.cutButton.ariaPressed = "true";
    clearTimeout(this.cutEnds);
    this.cutEnds = setTimeout(() => (this.cutButton.ariaPressed = "false"), seconds * 1000);
  }

  // Let the link's states, which panes and strip share, show the outage.
  splice(from, seconds) {
    const to = from + seconds;
    const around = this.link.flatMap(([begin, end, loss]) => [[begin, Math.min(end, from), loss], [Math.max(begin, to), end, loss]]);
    const kept = around.filter(([begin, end]) => begin < end);
    this.link.splice(0, this.link.length, ...[...kept, [from, to, 1]].sort(([one], [other]) => one - other));
  }

  showPanes() {
    this.panes = WAYS.map((way) => new Pane(way.describe(this.browser)));
    this.paneBox.replaceChildren(...this.panes.map((pane) => pane.box));
    this.verdict.textContent = "";
    this.strip.clear();
  }

  async ask() {
    const { words, seconds, tokenRate } = this.question;
    if (!words) return;
    this.showPanes();
    this.abort = new AbortController();
    this.question.button.textContent = "Stop";
    for (const pane of this.panes) pane.connect();
    try {
      this.browser = await getJson("api/browser"); // the certificate may be another one by now
      this.link = await getJson(`api/link?seconds=${Math.min(600, LOOK * seconds)}`);
      this.begun = performance.now();
      this.strip.begin(this.link, seconds, this.browser.client);
      for (const pane of this.panes) pane.begin(this.link, seconds);
      const body = completionBody(this.browser, { words, seconds, tokenRate });
      const answers = WAYS.map((way, place) => this.follow(this.panes[place], way, body));
      this.animate();
      await Promise.all(answers);
      this.judge();
    } catch (error) {
      for (const pane of this.panes) pane.leave("failed");
      this.verdict.textContent = error.message;
    } finally {
      cancelAnimationFrame(this.frame);
      this.abort = null;
      this.question.button.textContent = "Ask again";
    }
  }

  // Bring one answer into its pane; one that fails leaves the other alone.
  async follow(pane, way, body) {
    const { signal } = this.abort;
    try {
      const response = await way.fetch(this.browser)(PATH, { method: "POST", headers: HEADERS, body, signal });
      pane.carrier.textContent = CARRIERS[response.carrier] ?? "";
      for await (const text of readTokens(response)) {
        const now = this.elapsed();
        pane.token({ text, at_s: now }, now);
      }
      pane.end({ outcome: "ok", numbers: { ...pane.meter.numbers(), seconds: this.elapsed() } }, this.elapsed());
    } catch (error) {
      if (signal.aborted) pane.leave("stopped");
      else pane.end({ outcome: "failed", message: error.message, numbers: pane.meter.numbers() }, this.elapsed());
    }
  }

  elapsed = () => (performance.now() - this.begun) / 1000;

  animate() {
    const now = this.elapsed();
    this.strip.draw(now);
    for (const pane of this.panes) pane.draw(now);
    this.frame = requestAnimationFrame(() => this.animate());
  }

  judge() {
    const now = this.elapsed();
    this.strip.draw(now);
    for (const pane of this.panes) pane.draw(now);
    const ended = this.panes.filter((pane) => pane.numbers?.stall_ratio != null);
    const told = ended.map((pane) => `${pane.scheme.label} stood still for ${format(pane.numbers.stall_ratio, "percentunit")} of its time`);
    if (told.length > 1) this.verdict.textContent = `${told.join(", ")}: the same link in the same seconds.`;
  }
}
