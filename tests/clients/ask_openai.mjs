// OpenAI's JavaScript package against the token server: `node ask_openai.mjs BASE_URL [MODULE]`, which exports a fetch to ask by.

import assert from "node:assert/strict";
import OpenAI from "openai";

const { fetch } = process.argv[3] ? await import(process.argv[3]) : globalThis;
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "any", maxRetries: 0, timeout: 60_000, fetch });
const model = "eloquent";
const messages = [{ role: "user", content: "Count to 5" }];
const counted = "1, 2, 3, 4, 5";
const strange = "one\u2028line \u0085 to\x0b all\x0c readers\u2029";

async function read(fields) {
  const stream = await client.chat.completions.create({ model, messages, stream: true, ...fields });
  const answer = { text: "", reasons: [], usage: null };
  for await (const chunk of stream) {
    answer.text += chunk.choices[0]?.delta.content ?? "";
    if (chunk.choices[0]?.finish_reason) answer.reasons.push(chunk.choices[0].finish_reason);
    answer.usage = chunk.usage ?? answer.usage;
  }
  return answer;
}

assert.equal((await client.models.list()).data[0].id, model);
assert.equal((await client.models.retrieve(model)).id, model);

const answer = await read({ stream_options: { include_usage: true }, temperature: 0.7 });
assert.deepEqual([answer.text, answer.reasons, answer.usage.completion_tokens], [counted, ["stop"], 9]);
assert.deepEqual((await read({ max_completion_tokens: 3 })).reasons, ["length"]);
assert.equal((await read({ stop: " 4" })).text, "1, 2, 3,");
assert.equal((await read({ eloquent: { source: "recorded:strange" } })).text, strange);
assert.deepEqual(await Promise.all([1, 2, 3].map(async () => (await read({})).text)), Array(3).fill(counted));

const runner = client.chat.completions.stream({ model, messages });
assert.equal(await runner.finalContent(), counted);

const whole = await client.chat.completions.create({ model, messages, eloquent: { token_gap_s: 0 } });
assert.deepEqual([whole.choices[0].message.content, whole.choices[0].finish_reason], [counted, "stop"]);

await assert.rejects(read({ n: 2 }), (error) => error instanceof OpenAI.BadRequestError && error.param === "n");

const left = await client.chat.completions.create({ model, messages: [{ role: "user", content: "Count to 9999" }], stream: true });
for await (const chunk of left) if (chunk.choices[0].delta.content) break; // which aborts the request

process.exit(); // a connection that is kept for the next question would keep the process
