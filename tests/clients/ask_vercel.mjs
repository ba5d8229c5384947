// Vercel's AI SDK against the token server: `node ask_vercel.mjs BASE_URL [MODULE]`, which exports a fetch to ask by.

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const baseURL = process.argv[2];
const { fetch } = process.argv[3] ? await import(process.argv[3]) : globalThis;
const prompt = "Count to 5";
const counted = "1, 2, 3, 4, 5";
const strange = "one\u2028line \u0085 to\x0b all\x0c readers\u2029";

const plain = createOpenAICompatible({ name: "eloquent", baseURL, apiKey: "any", includeUsage: true, fetch });
const recorded = createOpenAICompatible({
  name: "eloquent", baseURL, apiKey: "any", fetch,
  transformRequestBody: (body) => ({ ...body, eloquent: { source: "recorded:strange" } }),
});

async function read(model, fields) {
  const errors = [];
  const answer = streamText({ model, prompt, maxRetries: 0, onError: ({ error }) => errors.push(error), ...fields });
  let text = "";
  for await (const piece of answer.textStream) text += piece;
  if (errors.length) throw errors[0];
  return { text, reason: await answer.finishReason, usage: await answer.usage };
}

const answer = await read(plain("eloquent"), { system: "Be brief.", temperature: 0.7 });
assert.deepEqual([answer.text, answer.reason, answer.usage.outputTokens], [counted, "stop", 9]);
const cut = await read(plain("eloquent"), { maxOutputTokens: 3 });
assert.deepEqual([cut.text, cut.reason], ["1, 2", "length"]);
assert.equal((await read(plain("eloquent"), { stopSequences: [" 4"] })).text, "1, 2, 3,");
assert.equal((await read(recorded("eloquent"), {})).text, strange);

const whole = await generateText({ model: plain("eloquent"), prompt, maxRetries: 0 });
assert.deepEqual([whole.text, whole.finishReason], [counted, "stop"]);

process.exit(); // a connection that is kept for the next question would keep the process
