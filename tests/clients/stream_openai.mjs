// Stream an answer by OpenAI's JavaScript package: `node stream_openai.mjs BASE_URL REQUEST`; prints it.

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "any", maxRetries: 0, timeout: 60_000 });
const stream = await client.chat.completions.create(JSON.parse(process.argv[3]));
let text = "";
let chunks = 0;
let usage = null;
const reasons = [];
for await (const chunk of stream) {
  chunks += 1;
  text += chunk.choices[0]?.delta.content ?? "";
  if (chunk.choices[0]?.finish_reason) reasons.push(chunk.choices[0].finish_reason);
  usage = chunk.usage ?? usage;
}
console.log(JSON.stringify([text, reasons, usage.completion_tokens, chunks]));
