// A streamed chat completion: asked for as any model server takes it, and read from the response token by token.

export const PATH = "/v1/chat/completions";

// The same body for whoever carries it. A server of the reader's own knows no pace.
export function completionBody(browser, { words, seconds, tokenRate }) {
  const pace = browser.own_server ? {} : { eloquent: { token_gap_s: 1 / tokenRate } };
  const messages = [{ role: "user", content: words }];
  return JSON.stringify({ model: browser.model, stream: true, messages, max_tokens: Math.round(seconds * tokenRate), ...pace });
}

// Yield the tokens of a response as they come. Throws where it fails or ends before its time.
export async function* readTokens(response) {
  if (!response.ok) throw new Error(await complaint(response));
  for await (const data of readEvents(response.body)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new Error(event.error.message ?? event.error);
    const text = event.choices?.[0]?.delta?.content;
    if (text) yield text;
  }
  throw new Error("the answer broke off");
}

async function complaint(response) {
  const { error } = await response.json().catch(() => ({}));
  return error?.message ?? error ?? `HTTP status ${response.status}`;
}

// Yield the data of each event of an event stream.
async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice("data:".length).trimStart());
      if (data.length > 0) yield data.join("\n");
    }
  }
}
