// Chats, streams, responds, embeds and lists models, with OpenAI's client for JavaScript.
//
//   npm ci --prefix examples/clients
//   ROUTER=http://127.0.0.1:8000 MODEL=Qwen/Qwen3-0.6B node examples/clients/openai_client.mjs

import OpenAI from "openai";

const {
  ROUTER = "http://127.0.0.1:8000",
  API_KEY = "unused",
  HF_TOKEN,
  MODEL = "Qwen/Qwen3-0.6B",
  EMBEDDER = "Qwen/Qwen3-Embedding-0.6B",
} = process.env;
const client = new OpenAI({
  baseURL: `${ROUTER}/v1`,
  apiKey: API_KEY,
  defaultHeaders: HF_TOKEN ? { "X-HF-Token": HF_TOKEN } : {},
  timeout: 600_000, // milliseconds; a cold start downloads the model first
});
const messages = [{ role: "user", content: "Who are you?" }];

const answer = await client.chat.completions.create({ model: MODEL, messages });
console.log(answer.choices[0].message.content);

const stream = client.chat.completions.stream({
  model: MODEL,
  messages,
  stream_options: { include_usage: true },
});
stream.on("content", (delta) => process.stdout.write(delta));
const whole = await stream.finalChatCompletion();
console.log(` (${whole.usage.completion_tokens} tokens)`);

const response = await client.responses.create({ model: MODEL, input: "Who are you?" });
console.log(response.output_text);

const events = await client.responses.create({
  model: MODEL,
  input: "Who are you?",
  stream: true,
});
for await (const event of events) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
}
console.log();

const vectors = await client.embeddings.create({ model: EMBEDDER, input: ["one", "another"] });
console.log(vectors.data.length, "vectors");

try {
  await client.chat.completions.create({ model: "nobody/nothing", messages });
} catch (error) {
  if (!(error instanceof OpenAI.NotFoundError)) throw error;
  console.log(error.code);
}

const names = [];
for await (const model of client.models.list()) names.push(model.id);
console.log(...names);
