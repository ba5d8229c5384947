// Runs in the board's page: ask the same question several times at the same instant, and measure what the page gets.
//
// A group has a name, what carries its answers ("sse" or "webtransport"), so many connections, and so many chats on each of them. Of
// each are given: the seconds in stalls and those of the streams, over all of its answers, their lengths and texts, and by what they
// came. All connections stand before the first question, and have been used. What comes in the first `settle` seconds of an answer is
// not measured. `lag` is how late the page itself was at the 99th percentile, in seconds.
async ({ groups, seconds, rate, settle = 0 }) => {
  const LOOK = 20; // milliseconds
  const TRIES = 10;
  const { makeFetch } = await import("/client/eloquent.js");
  const { PATH, completionBody, readTokens } = await import("/static/completion.js");
  const { Meter } = await import("/static/measures.js");
  const browser = await (await fetch("/api/browser")).json();
  const question = completionBody(browser, { words: "Tell me a story", seconds, tokenRate: rate });
  // A connection is known by its URL; that without a name is the page's own. The page waits for it rather than fall back.
  const connection = (name) => ({ webTransport: browser.relay + (name && `?of=${name}`), certificateHashes: [browser.certificate_hash], fallbackAfter: 60 });

  async function answer(ask, body) {
    const asked = performance.now() / 1000;
    const response = await ask(PATH, { method: "POST", headers: { "content-type": "application/json" }, body });
    const meter = new Meter();
    let text = "";
    let tokens = 0;
    for await (const token of readTokens(response)) {
      text += token;
      tokens += 1;
      const at = performance.now() / 1000;
      if (at >= asked + settle) meter.add(at);
    }
    return { meter, text, tokens, carrier: response.carrier ?? "fetch" };
  }

  // A handshake may be lost on such a link: then the page would do without for a while, which it forgets here.
  async function standing(ask, by, body) {
    for (let tries = 0; tries < TRIES; tries += 1) {
      Object.keys(sessionStorage).forEach((key) => key.startsWith("eloquent:failed:") && sessionStorage.removeItem(key));
      const { carrier } = await answer(ask, body);
      if (by === "sse" || carrier === by) return;
    }
    throw new Error(`no connection over ${by} stands after ${TRIES} trials`);
  }

  const all = groups.map(({ name, by, connections, chats }) => {
    const ways = Array.from({ length: connections }, (_, number) => (by === "sse" ? fetch : makeFetch(connection(name && `${name}${number}`))));
    return { name, by, ways, chats };
  });
  const warmUp = completionBody(browser, { words: "Count to 2", seconds: 0.2, tokenRate: 10 });
  for (const { ways, by } of all) await Promise.all(ways.map((ask) => standing(ask, by, warmUp)));
  const lags = [];
  let due = performance.now() + LOOK;
  const looking = setInterval(() => {
    lags.push(Math.max(0, performance.now() - due));
    due = performance.now() + LOOK;
  }, LOOK);
  const measured = await Promise.all(all.map(async ({ name, ways, chats }) => {
    const answers = await Promise.all(ways.flatMap((ask) => Array.from({ length: chats }, () => answer(ask, question))));
    return [name, {
      stalled: answers.reduce((sum, { meter }) => sum + meter.stalled, 0),
      streamed: answers.reduce((sum, { meter }) => sum + meter.last - meter.first, 0),
      tokens: answers.map(({ tokens }) => tokens),
      texts: [...new Set(answers.map(({ text }) => text))],
      carriers: [...new Set(answers.map(({ carrier }) => carrier))],
    }];
  }));
  clearInterval(looking);
  const lag = lags.sort((one, other) => one - other)[Math.floor(0.99 * lags.length)];
  return { lag: lag / 1000, ...Object.fromEntries(measured) };
}
